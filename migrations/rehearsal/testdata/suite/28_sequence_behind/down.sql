DELETE FROM reviews WHERE id > 5000 AND body = 'imported';
