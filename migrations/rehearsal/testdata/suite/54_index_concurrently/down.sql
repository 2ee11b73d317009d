DROP INDEX CONCURRENTLY users_country_idx;
