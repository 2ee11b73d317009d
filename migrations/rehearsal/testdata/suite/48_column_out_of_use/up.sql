-- deploy: irreversible nobody has sent a fax since 2019
ALTER TABLE users DROP COLUMN fax;
