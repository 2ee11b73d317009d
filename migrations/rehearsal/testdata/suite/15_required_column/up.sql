ALTER TABLE wishes ADD COLUMN priority int NOT NULL;
