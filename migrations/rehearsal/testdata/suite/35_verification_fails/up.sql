-- deploy: changes settings
INSERT INTO settings (key, value) SELECT 'limit.' || code, '10' FROM countries WHERE code = 'DE';
