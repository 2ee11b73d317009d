ALTER TABLE events DETACH PARTITION events_2024;
DROP INDEX events_2024_user_id_idx;
