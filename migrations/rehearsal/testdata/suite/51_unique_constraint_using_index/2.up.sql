ALTER TABLE users ADD CONSTRAINT users_name_joined_key UNIQUE USING INDEX users_name_joined_key;
