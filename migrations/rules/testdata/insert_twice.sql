INSERT INTO users (id, email, id) VALUES (1, 'a', 2);
