ALTER TABLE users ADD COLUMN a text;
ALTER TABLE teams ADD COLUMN b text;
INSERT INTO audit SELECT id, 'x' FROM users;
CREATE INDEX ON orders (state);
