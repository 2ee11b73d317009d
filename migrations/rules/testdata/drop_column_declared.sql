-- deploy: irreversible nobody has written it since 2024
ALTER TABLE users DROP COLUMN legacy CASCADE;
