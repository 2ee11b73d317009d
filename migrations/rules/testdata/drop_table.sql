DROP TABLE IF EXISTS sessions, app.tokens CASCADE;
