TRUNCATE users, teams CASCADE;
