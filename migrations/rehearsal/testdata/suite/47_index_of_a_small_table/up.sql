CREATE INDEX reviews_user_id_idx ON reviews (user_id);
