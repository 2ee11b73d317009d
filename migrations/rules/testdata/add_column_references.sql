ALTER TABLE posts ADD COLUMN author_id bigint REFERENCES users (id);
