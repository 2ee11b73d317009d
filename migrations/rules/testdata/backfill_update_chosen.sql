UPDATE users SET active = false WHERE last_seen < '2020-01-01' RETURNING id;
