ALTER TABLE preferences RENAME TO settings;
