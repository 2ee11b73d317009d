UPDATE coupons SET percent = percent + 1 WHERE code LIKE 'COUPON-1%';
