-- What the database of a rehearsal begins with: 20,000 extractions of a year, the same every time. They are what a backup is
-- proven with, what a migration is measured on, and what queries are planned for.
INSERT INTO "extractions" ("file_name", "sha256", "size_bytes", "mime_type", "metadata", "created_at")
SELECT
	format("pattern", lpad(n::text, 5, '0')),
	encode(sha256(n::text::bytea), 'hex'),
	"smallest" + n::bigint * 7919 % "smallest",
	"mime_type",
	jsonb_build_object('File', jsonb_build_object('MIMEType', "mime_type"), "tags", CASE "tags"
		WHEN 'EXIF' THEN jsonb_build_object('Make', (ARRAY['Acme', 'Lumen', 'Orbit'])[1 + n % 3], 'Model', 'Model ' || n % 40,
			'FNumber', 1.8 + n % 8 * 0.5, 'ExposureTime', '1/' || 30 * (1 + n % 16))
		WHEN 'PNG' THEN jsonb_build_object('ImageWidth', 1280 + n % 5 * 160, 'ImageHeight', 720 + n % 5 * 90)
		WHEN 'PDF' THEN jsonb_build_object('Title', 'Tide table ' || n, 'PageCount', 1 + n % 60)
		WHEN 'ZIP' THEN jsonb_build_object('ZipCompression', 'Deflated', 'ZipFileName', 'notes-' || n || '.txt')
		ELSE jsonb_build_object('codec_type', split_part("mime_type", '/', 1), 'duration', n % 5400 || '.000000')
	END),
	timestamptz '2025-01-01 00:00:00+00' + n * interval '26 minutes'
FROM generate_series(1, 20000) AS n
JOIN (VALUES
	(0, 'IMG_%s.jpg', 'image/jpeg', 2000000, 'EXIF'),
	(1, 'DSC%s.jpg', 'image/jpeg', 3000000, 'EXIF'),
	(2, 'Screenshot %s.png', 'image/png', 400000, 'PNG'),
	(3, 'report-%s.pdf', 'application/pdf', 150000, 'PDF'),
	(4, 'CLIP%s.mp4', 'video/mp4', 40000000, 'Stream 0'),
	(5, 'memo %s.wav', 'audio/x-wav', 900000, 'Stream 0'),
	(6, 'archive-%s.zip', 'application/zip', 5000000, 'ZIP')
) AS "sort" ("rest", "pattern", "mime_type", "smallest", "tags") ON n % 7 = "rest"
ORDER BY n;
