-- deploy: irreversible the audit of 2019 is in the archive
DROP TABLE audit_2019 CASCADE;
