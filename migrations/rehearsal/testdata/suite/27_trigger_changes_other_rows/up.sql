-- deploy: changes settings.value
CREATE FUNCTION settings_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE countries SET name = upper(name);
	RETURN NULL;
END $$;
CREATE TRIGGER settings_changed AFTER UPDATE ON settings FOR EACH STATEMENT EXECUTE FUNCTION settings_changed();
UPDATE settings SET value = 'on' WHERE key = 'setting.1';
DROP TRIGGER settings_changed ON settings;
DROP FUNCTION settings_changed();
