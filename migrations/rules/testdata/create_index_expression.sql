CREATE UNIQUE INDEX ON users (lower(email), (data ->> 'x'));
