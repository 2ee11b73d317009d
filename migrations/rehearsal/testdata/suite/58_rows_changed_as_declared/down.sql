UPDATE settings SET value = 'value 1' WHERE key = 'setting.1';
