ALTER TABLE "extractions" DROP COLUMN IF EXISTS "sort";
