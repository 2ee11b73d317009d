ALTER TABLE wishes DROP COLUMN priority;
