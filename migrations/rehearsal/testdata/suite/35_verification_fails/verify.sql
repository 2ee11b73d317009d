SELECT count(*) = 5 FROM settings WHERE key LIKE 'limit.%';
