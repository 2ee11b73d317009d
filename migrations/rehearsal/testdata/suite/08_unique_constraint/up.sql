ALTER TABLE users ADD CONSTRAINT users_name_joined_key UNIQUE (name, joined);
