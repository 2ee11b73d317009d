CREATE VIEW v AS SELECT id, name AS id FROM users;
