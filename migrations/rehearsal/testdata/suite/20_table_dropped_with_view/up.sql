-- deploy: irreversible the prices are in the catalogue service
DROP TABLE prices CASCADE;
