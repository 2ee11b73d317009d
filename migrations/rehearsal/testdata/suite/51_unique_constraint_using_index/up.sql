CREATE UNIQUE INDEX CONCURRENTLY users_name_joined_key ON users (name, joined);
