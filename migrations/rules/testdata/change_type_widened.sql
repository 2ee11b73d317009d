CREATE TABLE tags (name varchar(50));
ALTER TABLE notes ADD COLUMN label varchar(50);
ALTER TABLE notes ALTER COLUMN label TYPE varchar(100);
