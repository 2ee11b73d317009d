-- deploy: changes coupons.code
-- deploy: irreversible the codes are on paper, too
ALTER TABLE coupons ALTER COLUMN code TYPE varchar(6) USING right(code, 6);
