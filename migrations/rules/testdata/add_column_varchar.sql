ALTER TABLE users ADD COLUMN country varchar(2), ADD COLUMN zip char(5), ADD COLUMN born timestamp, ADD COLUMN points int, ADD COLUMN level smallint;
