-- deploy: changes payments.method
-- deploy: irreversible the methods were empty
-- deploy: backfill payments by id batch 1000
UPDATE payments SET method = 'card' WHERE id BETWEEN $1 AND $2 AND method IS NULL AND id > 250000;
