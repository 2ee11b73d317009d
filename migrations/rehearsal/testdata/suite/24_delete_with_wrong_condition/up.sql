DELETE FROM coupons WHERE percent > 30 OR remark IS NOT NULL;
