ALTER TABLE users DROP CONSTRAINT users_name_joined_key;
CREATE UNIQUE INDEX users_name_joined_key ON users (name, joined);
