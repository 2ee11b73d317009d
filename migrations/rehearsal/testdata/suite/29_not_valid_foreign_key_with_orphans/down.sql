ALTER TABLE reviews DROP CONSTRAINT reviews_user_id_fkey;
