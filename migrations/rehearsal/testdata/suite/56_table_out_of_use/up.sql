-- deploy: irreversible the audit of 2019 is in the archive
DROP VIEW audit_report;
DROP TABLE audit_2019;
