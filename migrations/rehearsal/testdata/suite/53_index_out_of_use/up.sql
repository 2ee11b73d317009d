DROP INDEX users_referrer_idx;
