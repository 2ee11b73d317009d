-- deploy: changes settings.value
UPDATE settings SET value = 'on' WHERE key = 'setting.1';
