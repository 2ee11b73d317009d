ALTER TABLE users ADD CONSTRAINT users_email_plausible CHECK (email ~ '^[^@ ]+@[^@ ]+$');
