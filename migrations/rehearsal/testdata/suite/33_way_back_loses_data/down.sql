ALTER TABLE coupons ADD COLUMN remark text;
