-- deploy: changes orders.note
-- deploy: irreversible the notes were empty
UPDATE orders SET note = 'imported' WHERE id % 3 = 1;
