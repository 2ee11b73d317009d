DO $$
BEGIN
	IF to_regclass('coupons_redeemed') IS NULL THEN
		CREATE TABLE coupons_redeemed (code varchar(20) NOT NULL, at timestamptz NOT NULL);
		CREATE TABLE coupons_redeemed_at (at timestamptz NOT NULL);
	END IF;
END $$;
