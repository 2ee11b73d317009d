ALTER TABLE "extractions" RENAME COLUMN "uploaded_at" TO "created_at";
ALTER TABLE "extractions" DROP COLUMN "kind";
