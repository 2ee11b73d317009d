ALTER TABLE "extractions" ADD COLUMN "kind" text;
--> statement-breakpoint
UPDATE "extractions" SET "kind" = CASE
	WHEN "mime_type" LIKE 'image/%' THEN 'image'
	WHEN "mime_type" LIKE 'audio/%' THEN 'audio'
	WHEN "mime_type" LIKE 'video/%' THEN 'video'
	WHEN "mime_type" LIKE 'text/%'
		OR "mime_type" LIKE 'application/vnd.openxmlformats-officedocument.%'
		OR "mime_type" LIKE 'application/vnd.oasis.opendocument.%'
		OR "mime_type" IN ('application/msword', 'application/pdf', 'application/rtf') THEN 'document'
	ELSE 'other'
END;
--> statement-breakpoint
UPDATE "extractions" SET "mime_type" = 'audio/wav' WHERE "mime_type" = 'audio/x-wav';
