ALTER TABLE orders ALTER COLUMN due TYPE timestamptz;
