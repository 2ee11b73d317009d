UPDATE users SET a = 1, b = 2, a = 3 WHERE id = 1;
UPDATE users SET c[1] = 1, c[2] = 2 WHERE id = 1;
