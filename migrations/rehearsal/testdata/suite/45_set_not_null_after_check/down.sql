ALTER TABLE users DROP CONSTRAINT users_seen_not_null;
