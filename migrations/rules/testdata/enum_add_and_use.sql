ALTER TYPE mood ADD VALUE 'bored' AFTER 'sad';
UPDATE people SET mood = 'bored' WHERE mood IS NULL;
