ALTER VIEW active_users RENAME TO live_users;
ALTER INDEX users_a RENAME TO users_b;
