CREATE FUNCTION reviews_need_stars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.reason IS NULL THEN
		RAISE EXCEPTION 'a review needs a reason';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER reviews_need_stars BEFORE INSERT OR UPDATE ON reviews FOR EACH ROW EXECUTE FUNCTION reviews_need_stars();
