-- deploy: backfill users by id batch 500
UPDATE users SET email_lower = lower(email) WHERE id BETWEEN $1 AND $2;
