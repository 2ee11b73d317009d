CREATE TABLE users (
  id serial PRIMARY KEY,
  age integer,
  level smallint,
  name varchar(100),
  country char(2),
  born timestamp
);
