ALTER TABLE reviews DROP CONSTRAINT reviews_stars_check;
