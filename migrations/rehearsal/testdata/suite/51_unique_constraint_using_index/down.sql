DROP INDEX CONCURRENTLY users_name_joined_key;
