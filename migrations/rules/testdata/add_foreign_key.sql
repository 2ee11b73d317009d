ALTER TABLE posts
  ADD CONSTRAINT posts_author_fkey
  FOREIGN KEY (author_id) REFERENCES users (id) ON DELETE CASCADE;
