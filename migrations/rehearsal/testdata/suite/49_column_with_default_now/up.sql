ALTER TABLE users ADD COLUMN updated timestamptz NOT NULL DEFAULT now();
