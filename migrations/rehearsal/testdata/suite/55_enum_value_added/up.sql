-- deploy: irreversible PostgreSQL removes no value of an enum
ALTER TYPE order_status ADD VALUE 'returned';
