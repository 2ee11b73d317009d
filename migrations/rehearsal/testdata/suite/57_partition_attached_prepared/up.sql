CREATE INDEX CONCURRENTLY events_2024_user_id_idx ON events_2024 (user_id);
