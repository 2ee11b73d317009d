ALTER TABLE orders ALTER COLUMN state SET DATA TYPE text USING state::text;
