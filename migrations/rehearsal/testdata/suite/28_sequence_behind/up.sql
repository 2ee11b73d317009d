-- deploy: changes reviews
INSERT INTO reviews (id, user_id, stars, body) SELECT g, g, 5, 'imported' FROM generate_series(5001, 5100) g;
