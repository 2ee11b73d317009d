CREATE INDEX users_referrer_idx ON users (referrer);
