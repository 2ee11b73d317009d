BEGIN;

-- Running upgrade 1975ea83b712 -> ae1027a6acf

ALTER TABLE account ADD COLUMN last_transaction_date TIMESTAMP WITH TIME ZONE;

ALTER TABLE account ALTER COLUMN name TYPE VARCHAR(200);

ALTER TABLE account ADD CONSTRAINT uq_account_name UNIQUE (name);

UPDATE alembic_version SET version_num='ae1027a6acf' WHERE alembic_version.version_num = '1975ea83b712';

COMMIT;
