ALTER TABLE coupons DROP COLUMN remark;
