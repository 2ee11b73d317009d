DROP TRIGGER reviews_need_stars ON reviews;
DROP FUNCTION reviews_need_stars();
