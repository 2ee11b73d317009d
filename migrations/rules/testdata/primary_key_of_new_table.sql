CREATE TABLE logs (id bigint);
ALTER TABLE logs ADD PRIMARY KEY (id);
