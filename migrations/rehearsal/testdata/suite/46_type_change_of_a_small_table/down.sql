ALTER TABLE coupons ALTER COLUMN percent TYPE integer;
