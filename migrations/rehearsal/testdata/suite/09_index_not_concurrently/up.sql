CREATE INDEX users_country_idx ON users (country, joined);
