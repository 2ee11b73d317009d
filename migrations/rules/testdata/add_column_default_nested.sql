ALTER TABLE posts ADD COLUMN slug text DEFAULT lower(md5('x'));
