DROP INDEX reviews_user_id_idx;
