ALTER TABLE posts ADD COLUMN author_id bigint;
CREATE INDEX CONCURRENTLY posts_author_idx ON posts (author_id);
