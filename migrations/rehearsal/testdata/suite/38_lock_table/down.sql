DELETE FROM settings WHERE key = 'paid';
