ALTER TABLE "extractions" ADD COLUMN "kind" text;
--> statement-breakpoint
-- In batches with a rest after each, to spare the others. But it is one transaction, which keeps its lock until the end.
DO $$
DECLARE "first" bigint;
BEGIN
	FOR "first" IN SELECT generate_series(1, max("id"), 2000) FROM "extractions" LOOP
		UPDATE "extractions" SET "kind" = CASE
			WHEN "mime_type" LIKE 'image/%' THEN 'image'
			WHEN "mime_type" LIKE 'audio/%' THEN 'audio'
			WHEN "mime_type" LIKE 'video/%' THEN 'video'
			WHEN "mime_type" LIKE 'text/%'
				OR "mime_type" LIKE 'application/vnd.openxmlformats-officedocument.%'
				OR "mime_type" LIKE 'application/vnd.oasis.opendocument.%'
				OR "mime_type" IN ('application/msword', 'application/pdf', 'application/rtf') THEN 'document'
			ELSE 'other'
		END WHERE "id" BETWEEN "first" AND "first" + 1999;
		PERFORM pg_sleep(0.25);
	END LOOP;
END $$;
