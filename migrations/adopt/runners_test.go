package adopt

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/folder"
)

func TestGolangMigratesTableIsTakenOver(t *testing.T) {
	stock := func(version int, dirty bool) string {
		return fmt.Sprintf("CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (%d, %t)", version, dirty)
	}
	pairs := func() fstest.MapFS {
		return pgtest.Files("0_z.up.sql", sql("z"), "1_a.up.sql", sql("a"), "1_a.down.sql", "DROP TABLE a", "3_b.up.sql", sql("b"))
	}
	tests := []story{
		{name: "up to its version", setup: stock(1, false), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: applied golang-migrate, no hash stored", "3 m/3_b.up.sql: pending"}, says: []string{"note pending"}, version: 1},
		{name: "at version 0", setup: stock(0, false), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: pending", "3 m/3_b.up.sql: pending"}, says: []string{"note pending"}, version: 0},
		{name: "unless it is dirty", setup: stock(1, true), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: half-applied golang-migrate, no hash stored", "3 m/3_b.up.sql: pending"},
			says: []string{"refuse half-applied m/1_a.up.sql", "refuse half-applied table public.schema_migrations", "note pending"}, version: 1},
		{name: "unless its version is newer", setup: stock(4, false), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: applied golang-migrate, no hash stored", "3 m/3_b.up.sql: applied golang-migrate, no hash stored", "- version 4: newer golang-migrate, in public.schema_migrations"},
			says: []string{"refuse newer table public.schema_migrations"}, version: 3},
		{name: "unless its version is missing", setup: stock(2, false), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: applied golang-migrate, no hash stored", "3 m/3_b.up.sql: pending", "- version 2: missing golang-migrate, in public.schema_migrations"},
			says: []string{"refuse missing table public.schema_migrations", "note pending"}, version: 1},
		{name: "under another name", setup: strings.ReplaceAll(stock(1, false), "schema_migrations", "app_versions"), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: applied golang-migrate, no hash stored", "3 m/3_b.up.sql: pending"}, says: []string{"note pending"}, version: 1},
		{name: "under another name, unless it is dirty", setup: strings.ReplaceAll(stock(1, true), "schema_migrations", "app_versions"), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: half-applied golang-migrate, no hash stored", "3 m/3_b.up.sql: pending"},
			says: []string{"refuse half-applied m/1_a.up.sql", "note pending"}, version: 1},
		{name: "of this schema, and not of another tenant's", setup: "CREATE SCHEMA tenant; " + strings.ReplaceAll(stock(3, false), "schema_migrations", "tenant.schema_migrations") + ";" + stock(1, false), files: pairs(),
			want: []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: applied golang-migrate, no hash stored", "3 m/3_b.up.sql: pending"},
			says: []string{"note another-table table tenant.schema_migrations", "note pending"}, version: 1},
		{name: "unless two tenants disagree and none is this schema's", files: pairs(),
			setup: "CREATE SCHEMA one; CREATE SCHEMA two;" + strings.ReplaceAll(stock(3, false), "schema_migrations", "one.schema_migrations") + ";" + strings.ReplaceAll(stock(1, false), "schema_migrations", "two.schema_migrations"),
			want:  []string{"0 m/0_z.up.sql: applied golang-migrate, no hash stored", "1 m/1_a.up.sql: applied golang-migrate, no hash stored", "3 m/3_b.up.sql: applied golang-migrate, no hash stored"},
			says:  []string{"refuse ambiguous-evidence table two.schema_migrations"}, version: 3},
		{name: "unless it is about another folder", setup: stock(1, false), files: with(journal("0000_a"), "server/1_a.up.sql", sql("a")), more: []string{"server"},
			want:    []string{"1767225600000 m/0000_a.sql: pending", "- server/1_a.up.sql: applied golang-migrate, no hash stored"},
			says:    []string{"refuse version-table-taken table public.schema_migrations", "refuse nothing-to-follow server/1_a.up.sql", "note order-unproven", "note pending"},
			version: -1},
		{name: "unless it may be about two folders", setup: stock(1, false), files: with(pgtest.Files("1_a.sql", sql("a")), "server/1_a.up.sql", sql("a")), more: []string{"server"},
			want: []string{"1 m/1_a.sql: pending", "- server/1_a.up.sql: out-of-order"}, says: []string{"refuse ambiguous-evidence table public.schema_migrations", "refuse out-of-order server/1_a.up.sql", "note pending"}, version: -1},
	}
	tell(t, tests)
}

func TestPrismasTableIsTakenOver(t *testing.T) {
	const table = `CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY DEFAULT gen_random_uuid(), checksum varchar(64) NOT NULL, finished_at timestamptz, migration_name varchar(255) NOT NULL,
		logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT clock_timestamp(), applied_steps_count int NOT NULL DEFAULT 0);`
	row := func(name, body, finished, rolledBack string) string {
		return fmt.Sprintf("INSERT INTO _prisma_migrations (checksum, migration_name, finished_at, rolled_back_at) VALUES ('%s', '%s', %s, %s);", folder.Hash([]byte(body)), name, finished, rolledBack)
	}
	files := func() fstest.MapFS {
		return pgtest.Files("20260101000000_a/migration.sql", "SELECT 1", "20260102000000_b/migration.sql", "SELECT 2\n", "migration_lock.toml", "provider = \"postgresql\"")
	}
	tests := []story{
		{name: "with its hashes, and the rolled back attempts left out", setup: table + row("20260101000000_a", "SELECT 1", "NULL", "now()") + row("20260101000000_a", "SELECT 1", "now()", "NULL") + row("20260102000000_b", "SELECT 2\r\n", "now()", "NULL"), files: files(),
			want: []string{"20260101000000 m/20260101000000_a/migration.sql: applied Prisma, hash equal", "20260102000000 m/20260102000000_b/migration.sql: applied Prisma, hash equal but for line ends"}, version: 20260102000000},
		{name: "unless one failed", setup: table + row("20260101000000_a", "SELECT 1", "NULL", "NULL"), files: files(),
			want: []string{"20260101000000 m/20260101000000_a/migration.sql: half-applied Prisma, hash equal", "20260102000000 m/20260102000000_b/migration.sql: pending"},
			says: []string{"refuse half-applied m/20260101000000_a/migration.sql", "note pending"}, version: 20260101000000},
		{name: "unless one was edited or overtaken", setup: table + row("20260102000000_b", "SELECT 3", "now()", "NULL"), files: files(),
			want: []string{"20260101000000 m/20260101000000_a/migration.sql: out-of-order", "20260102000000 m/20260102000000_b/migration.sql: edited Prisma, hash differs"},
			says: []string{"refuse edited m/20260102000000_b/migration.sql", "refuse out-of-order m/20260101000000_a/migration.sql"}, version: 20260102000000},
		{name: "also where somebody wrote no hash", setup: table + "INSERT INTO _prisma_migrations (checksum, migration_name, finished_at) VALUES ('manual', '20260101000000_a', now())", files: files(),
			want: []string{"20260101000000 m/20260101000000_a/migration.sql: applied Prisma, no hash stored", "20260102000000 m/20260102000000_b/migration.sql: pending"}, says: []string{"note pending"}, version: 20260101000000},
	}
	tell(t, tests)
}

func TestFlywaysTableIsTakenOver(t *testing.T) {
	const table = `CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), description varchar(200) NOT NULL DEFAULT '', type varchar(20) NOT NULL, script varchar(1000) NOT NULL,
		checksum int, installed_by varchar(100) NOT NULL DEFAULT 'x', installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL DEFAULT 0, success boolean NOT NULL);`
	rank := 0
	row := func(version, kind, script, body string, success bool) string {
		rank++
		checksum := "NULL"
		if body != "" {
			checksum = fmt.Sprint(int32(crc32.ChecksumIEEE([]byte(body))))
		}
		return fmt.Sprintf("INSERT INTO flyway_schema_history (installed_rank, version, type, script, checksum, success) VALUES (%d, %s, '%s', '%s', %s, %t);", rank, version, kind, script, checksum, success)
	}
	files := func() fstest.MapFS {
		return pgtest.Files("V1__a.sql", "SELECT 1;\r\nSELECT 1;\n", "V2__b.sql", "\ufeffSELECT 2;", "V3__c.sql", "SELECT 3;")
	}
	tests := []story{
		{name: "with its checksums of lines", setup: table + row("NULL", "SCHEMA", "\"public\"", "", true) + row("1", "SQL", "V1__a.sql", "SELECT 1;SELECT 1;", true) + row("2", "SQL", "V2__b.sql", "SELECT 2;", true), files: files(),
			want: []string{"1 m/V1__a.sql: applied Flyway, hash equal", "2 m/V2__b.sql: applied Flyway, hash equal", "3 m/V3__c.sql: pending"}, says: []string{"note pending"}, version: 2},
		{name: "with its baseline, and an edit", setup: table + row("2", "BASELINE", "<< Flyway Baseline >>", "", true) + row("3", "SQL", "V3__c.sql", "SELECT 4;", true), files: files(),
			want: []string{"1 m/V1__a.sql: applied Flyway, no hash stored", "2 m/V2__b.sql: applied Flyway, no hash stored", "3 m/V3__c.sql: edited Flyway, hash differs"}, says: []string{"refuse edited m/V3__c.sql"}, version: 3},
		{name: "with what failed, was taken back, repeats itself or is a program", setup: table + row("1", "SQL", "V1__a.sql", "SELECT 1;SELECT 1;", true) + row("2", "SQL", "V2__b.sql", "SELECT 2;", true) + row("2", "UNDO_SQL", "U2__b.sql", "", true) +
			row("NULL", "SQL", "R__views.sql", "x", true) + row("3", "SQL", "V3__c.sql", "SELECT 3;", false) + row("4", "JDBC", "db.migration.V4__d", "", true) + row("1.2", "SQL", "V1.2__gone.sql", "x", true), files: files(),
			want: []string{"1 m/V1__a.sql: applied Flyway, hash equal", "2 m/V2__b.sql: out-of-order", "3 m/V3__c.sql: half-applied Flyway, hash equal", "- db.migration.V4__d: newer Flyway, in public.flyway_schema_history", "- V1.2__gone.sql: missing Flyway, in public.flyway_schema_history"},
			says: []string{"refuse missing table public.flyway_schema_history", "refuse half-applied m/V3__c.sql", "refuse out-of-order m/V2__b.sql", "refuse generated-by-code table public.flyway_schema_history", "warn repeatable table public.flyway_schema_history"}, version: 3},
	}
	tell(t, tests)
}

func TestProgramsAreNotTakenOver(t *testing.T) {
	const alembic = `CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('ae1027a6acf');`
	const django = `CREATE TABLE django_migrations (id bigint PRIMARY KEY, app varchar(255), name varchar(255), applied timestamptz); INSERT INTO django_migrations VALUES (1, 'auth', '0001_initial', now());`
	tests := []story{
		{name: "of Alembic", setup: alembic, files: pgtest.Files("1_a.sql", "SELECT 1"), want: []string{"1 m/1_a.sql: pending"}, says: []string{"refuse generated-by-code table public.alembic_version", "note pending"}, version: -1},
		{name: "of Django", setup: django, files: pgtest.Files("0001_initial.sql", "SELECT 1"), want: []string{"1 m/0001_initial.sql: pending"}, says: []string{"refuse generated-by-code table public.django_migrations", "note pending"}, version: -1},
		{name: "of Sequelize", setup: `CREATE TABLE "SequelizeMeta" (name varchar(255) PRIMARY KEY); INSERT INTO "SequelizeMeta" VALUES ('20260101-a.js')`, files: pgtest.Files("1_a.sql", "SELECT 1"), want: []string{"1 m/1_a.sql: pending"},
			says: []string{"refuse generated-by-code table public.SequelizeMeta", "note pending"}, version: -1},
		{name: "of TypeORM", setup: `CREATE TABLE migrations (id serial, timestamp bigint, name varchar); INSERT INTO migrations (timestamp, name) VALUES (1600000000000, 'Init1600000000000')`, files: pgtest.Files("1_a.sql", "SELECT 1"), want: []string{"1 m/1_a.sql: pending"},
			says: []string{"refuse unmatched-evidence table public.migrations", "note pending"}, version: -1},
		{name: "of the services that a database came with", setup: `CREATE SCHEMA auth; CREATE TABLE auth.schema_migrations (version varchar PRIMARY KEY); INSERT INTO auth.schema_migrations VALUES ('00'), ('20210710035447')`, files: pgtest.Files("1_a.sql", "SELECT 1"), want: []string{"1 m/1_a.sql: pending"},
			says: []string{"warn unmatched-evidence table auth.schema_migrations", "note pending"}, version: -1},
		{name: "but the SQL beside them is", setup: alembic + handTable + handRows("1_a.sql"), files: pgtest.Files("1_a.sql", "SELECT 1"), want: []string{"1 m/1_a.sql: applied a runner made by hand, no hash stored"},
			says: []string{"warn generated-by-code table public.alembic_version"}, version: 1},
		{name: "and a baseline is", setup: alembic + `CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false)`, files: pgtest.Files("1_baseline.sql", "SELECT 1"),
			want: []string{"1 m/1_baseline.sql: applied golang-migrate, no hash stored"}, says: []string{"warn generated-by-code table public.alembic_version"}, version: 1},
	}
	tell(t, tests)
}
