ALTER TABLE posts ADD COLUMN expires timestamptz DEFAULT now() + interval '30 days';
