-- deploy: irreversible the texts are in the archive
ALTER TABLE users DROP COLUMN referrer;
