ALTER TABLE users ALTER COLUMN referrer TYPE varchar(40);
