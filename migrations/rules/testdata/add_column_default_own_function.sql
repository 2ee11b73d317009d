CREATE FUNCTION short_id() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'x' $$;
ALTER TABLE posts ADD COLUMN short text DEFAULT short_id();
ALTER TABLE posts ADD COLUMN nano text DEFAULT nanoid();
