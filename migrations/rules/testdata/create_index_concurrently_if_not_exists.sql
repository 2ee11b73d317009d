CREATE INDEX CONCURRENTLY IF NOT EXISTS posts_author_idx ON posts (author_id);
