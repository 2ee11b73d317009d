DELETE FROM settings WHERE key LIKE 'limit.%';
