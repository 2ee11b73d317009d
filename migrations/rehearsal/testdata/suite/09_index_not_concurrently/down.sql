DROP INDEX users_country_idx;
