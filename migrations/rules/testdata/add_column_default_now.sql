ALTER TABLE posts ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now();
