ALTER TABLE users VALIDATE CONSTRAINT users_seen_not_null;
