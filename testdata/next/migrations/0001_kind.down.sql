ALTER TABLE "extractions" DROP COLUMN "kind";
