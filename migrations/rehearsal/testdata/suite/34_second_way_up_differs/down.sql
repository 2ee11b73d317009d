DROP TABLE coupons_redeemed_at;
