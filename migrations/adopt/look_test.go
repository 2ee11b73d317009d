package adopt

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/folder"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func session(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pg.Connect(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(func() { pg.HangUp(context.Background(), conn) })
	return conn
}

// with adds files to a folder, by their paths from the application's root.
func with(files fstest.MapFS, pairs ...string) fstest.MapFS {
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return files
}

func look(t testing.TB, address string, files fs.FS, accept []folder.Accept, more ...string) *Plan {
	t.Helper()
	p, err := Look(context.Background(), session(t, address), files, folder.Options{Dir: "m", Accept: accept}, more)
	require.NoError(t, err)
	return p
}

// story is a database that others migrated, and what there is to say of it.
type story struct {
	name    string
	setup   string
	files   fstest.MapFS
	accept  []folder.Accept
	more    []string
	want    []string // "VERSION FILE: VERDICT BY, WHY" of every file
	says    []string // "LEVEL NAME PLACE" of every finding
	propose []string // what is to be accepted
	version int64
}

// tell tells stories one after the other in one database: to make one takes longer than to look at it.
func tell(t *testing.T, stories []story) {
	address := pgtest.Database(t)
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) { s.run(t, address) })
	}
}

// empty leaves nothing in a database.
const empty = `DO $$ DECLARE name text; BEGIN
	FOR name IN SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%' LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
	CREATE SCHEMA public; END $$;`

func (s story) run(t *testing.T, address string) {
	pgtest.Exec(t, address, empty)
	pgtest.Exec(t, address, s.setup)
	p := look(t, address, s.files, s.accept, s.more...)
	var files, findings, accept []string
	for _, f := range p.Files {
		number := "-"
		if f.Version != nil {
			number = fmt.Sprint(*f.Version)
		}
		line := fmt.Sprintf("%s %s: %s", number, f.File, f.Verdict)
		if f.By != "" {
			line += " " + f.By
		}
		if f.Why != "" {
			line += ", " + f.Why
		}
		files = append(files, line)
	}
	for _, f := range p.Findings {
		findings = append(findings, strings.TrimSpace(fmt.Sprintf("%s %s %s", f.Level, f.Name, f.File+f.Object)))
		assert.NotEmpty(t, f.Message)
	}
	for _, a := range p.Accept {
		accept = append(accept, a.String())
	}
	assert.Equal(t, s.want, files)
	assert.ElementsMatch(t, s.says, findings)
	assert.Equal(t, s.propose, accept)
	assert.Equal(t, s.version, p.Version)
	if t.Failed() {
		t.Log("\n" + p.Text())
	}
}

const (
	drizzleTable = `CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint);`
	handTable    = `CREATE TABLE schema_migrations (filename text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());`
)

func drizzleRow(body string, when int64) string {
	return fmt.Sprintf("INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('%s', %d);", folder.Hash([]byte(body)), when)
}

// handRows are what a runner made by hand wrote down: each name a day after the one before.
func handRows(names ...string) string {
	var b strings.Builder
	for i, name := range names {
		day := time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC)
		fmt.Fprintf(&b, "INSERT INTO schema_migrations VALUES (%s, '%s');", pg.Literal(name), day.Format(time.RFC3339))
	}
	return b.String()
}

// sql are statements that differ, and are as drizzle-kit writes them.
func sql(name string) string { return "CREATE TABLE " + name + " ();" }

const day = 86_400_000

// jan is a day of January 2026 as drizzle-kit writes it down.
func jan(d int64) int64 { return 1767225600000 + (d-1)*day }

// journal is a folder of drizzle-kit 0.x with migrations made on the days of January 2026 on which they are numbered.
func journal(names ...string) fstest.MapFS {
	var entries []string
	files := pgtest.Files()
	for i, name := range names {
		entries = append(entries, fmt.Sprintf("%d %d %s", i, jan(int64(i+1)), name))
		with(files, "m/"+name+".sql", sql(name))
	}
	return with(files, "m/meta/_journal.json", pgtest.Journal(entries...))
}

func TestDrizzlesTableIsTakenOver(t *testing.T) {
	all := drizzleTable + drizzleRow(sql("0000_a"), jan(1)) + drizzleRow(sql("0001_b"), jan(2))
	tests := []story{
		{name: "after checking its hashes", setup: all, files: journal("0000_a", "0001_b", "0002_c"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal", "1767398400000 m/0002_c.sql: pending"},
			says: []string{"note pending"}, version: jan(2)},
		{name: "where a file was edited after being applied", setup: all, files: with(journal("0000_a", "0001_b"), "m/0001_b.sql", "CREATE TABLE other ();"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: edited drizzle-orm, hash differs"},
			says: []string{"refuse edited m/0001_b.sql"}, version: jan(2)},
		{name: "where somebody has looked at the edit", setup: all, files: with(journal("0000_a", "0001_b"), "m/0001_b.sql", "-- deploy: allow edited comments only\n"+sql("0001_b")),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: edited drizzle-orm, hash differs"},
			says: []string{"note edited m/0001_b.sql"}, version: jan(2)},
		{name: "where git or an editor changed the line ends", setup: drizzleTable + drizzleRow("SELECT 1;\r\nSELECT 2;", jan(1)) + drizzleRow("SELECT 3;", jan(2)),
			files: with(journal("0000_a", "0001_b"), "m/0000_a.sql", "SELECT 1;\nSELECT 2;\n", "m/0001_b.sql", "SELECT 3;\n"),
			want:  []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal but for line ends", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal but for line ends"}, version: jan(2)},
		{name: "where a migration came in below the last one applied", setup: drizzleTable + drizzleRow(sql("0000_a"), jan(1)) + drizzleRow(sql("0002_c"), jan(3)), files: journal("0000_a", "0001_b", "0002_c"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: out-of-order", "1767398400000 m/0002_c.sql: applied drizzle-orm, hash equal"},
			says: []string{"refuse out-of-order m/0001_b.sql"}, version: jan(3)},
		{name: "where a file is missing, and one is newer", setup: drizzleTable + drizzleRow(sql("0000_a"), jan(1)) + drizzleRow("SELECT 1", jan(1)+1) + drizzleRow(sql("0001_b"), jan(2)) + drizzleRow("SELECT 2", jan(3)), files: journal("0000_a", "0001_b"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal",
				"- version 1767225600001: missing drizzle-orm, in drizzle.__drizzle_migrations", "- version 1767398400000: newer drizzle-orm, in drizzle.__drizzle_migrations"},
			says: []string{"refuse missing table drizzle.__drizzle_migrations", "refuse newer table drizzle.__drizzle_migrations"}, version: jan(2)},
		{name: "where SQL beside the journal is not listed, and was run by nobody", setup: all, files: with(journal("0000_a", "0001_b"), "m/0001_x.sql", "SELECT 1"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal", "- m/0001_x.sql: out-of-order"},
			says: []string{"refuse out-of-order m/0001_x.sql"}, version: jan(2)},
		{name: "where SQL beside the journal was run by another runner", setup: all + handTable + handRows("0000_a.sql", "0000_x.sql"), files: with(journal("0000_a", "0001_b"), "m/0000_x.sql", "SELECT 1", "m/0001_x.sql", "SELECT 1"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, a runner made by hand, hash equal", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal",
				"- m/0000_x.sql: applied a runner made by hand, no hash stored", "- m/0001_x.sql: out-of-order"},
			says:    []string{"refuse not-accepted", "refuse out-of-order m/0001_x.sql", "note order-unproven"},
			propose: []string{`{file: m/0000_x.sql, after: "0000_a"}`}, version: jan(2)},
		{name: "where SQL beside the journal was run by hand, and is accepted", setup: all, files: with(journal("0000_a", "0001_b"), "m/0001_x.sql", "SELECT 1"), accept: []folder.Accept{{File: "m/0001_x.sql", After: "0000_a"}},
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767225600000 m/0001_x.sql: assumed", "1767312000000 m/0001_b.sql: applied drizzle-orm, hash equal"},
			says: []string{"warn unproven m/0001_x.sql", "note order-unproven"}, propose: []string{`{file: m/0001_x.sql, after: "0000_a"}`}, version: jan(2)},
		{name: "from a table of another name in an odd schema", setup: `CREATE SCHEMA "Odd ""Schema"; CREATE TABLE "Odd ""Schema"."My.applied" (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);
			INSERT INTO "Odd ""Schema"."My.applied" (hash, created_at) VALUES ('` + folder.Hash([]byte(sql("0000_a"))) + `', ` + fmt.Sprint(jan(1)) + `)`, files: journal("0000_a"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal"}, version: jan(1)},
		{name: "of drizzle-kit 1.x, by name, whatever the order", setup: `CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint, name text, applied_at timestamptz DEFAULT now());
			INSERT INTO drizzle.__drizzle_migrations (hash, created_at, name, applied_at) VALUES
				('` + folder.Hash([]byte("SELECT 1")) + `', 1767225600000, '20260101000000_a', '2026-02-01'), ('` + folder.Hash([]byte("SELECT 2")) + `', 1767312000000, '20260102000000_b', '2026-01-31')`,
			files: pgtest.Files("20260101000000_a/migration.sql", "SELECT 1", "20260102000000_b/migration.sql", "SELECT 2", "20260103000000_c/migration.sql", "SELECT 3"),
			want:  []string{"20260101000000 m/20260101000000_a/migration.sql: applied drizzle-orm, hash equal", "20260102000000 m/20260102000000_b/migration.sql: applied drizzle-orm, hash equal", "20260103000000 m/20260103000000_c/migration.sql: pending"},
			says:  []string{"warn another-order m/20260102000000_b/migration.sql", "note pending"}, version: 20260102000000},
		{name: "of 0.x, whose folder was upgraded to 1.x since", setup: drizzleTable + drizzleRow("SELECT 1", jan(1)+123) + drizzleRow("SELECT 2", jan(2)+456) + drizzleRow("SELECT 9", jan(9)),
			files: pgtest.Files("20260101000000_a/migration.sql", "SELECT 1", "20260102000000_b/migration.sql", "SELECT 2 -- edited"),
			want: []string{"20260101000000 m/20260101000000_a/migration.sql: applied drizzle-orm, hash equal", "20260102000000 m/20260102000000_b/migration.sql: edited drizzle-orm, hash differs",
				"- version 1767916800000: newer drizzle-orm, in drizzle.__drizzle_migrations"},
			says: []string{"refuse edited m/20260102000000_b/migration.sql", "refuse newer table drizzle.__drizzle_migrations"}, version: 20260102000000},
		{name: "where two migrations hold the same, and one of them was applied", setup: drizzleTable + drizzleRow("SELECT 1", jan(1)), files: with(journal("0000_a", "0001_b"), "m/0000_a.sql", "SELECT 1", "m/0001_b.sql", "SELECT 1"),
			want: []string{"1767225600000 m/0000_a.sql: applied drizzle-orm, hash equal", "1767312000000 m/0001_b.sql: pending"}, says: []string{"note pending"}, version: jan(1)},
		{name: "where it is empty", setup: drizzleTable, files: journal("0000_a"), want: []string{"1767225600000 m/0000_a.sql: pending"}, says: []string{"note pending", "note no-evidence"}, version: -1},
		{name: "where it is of another application", setup: drizzleTable + drizzleRow("SELECT 1", jan(9)), files: journal("0000_a"), want: []string{"1767225600000 m/0000_a.sql: pending"},
			says: []string{"refuse unmatched-evidence table drizzle.__drizzle_migrations", "note pending"}, version: -1},
	}
	tell(t, tests)
}

func TestNumberedFoldersAreTakenOver(t *testing.T) {
	numbered := func(names ...string) fstest.MapFS {
		files := pgtest.Files()
		for _, n := range names {
			with(files, "m/"+n, sql(n))
		}
		return files
	}
	hash := func(name string) string { return folder.Hash([]byte(sql(name))) }
	const hand, none = "a runner made by hand", ", no hash stored"
	tests := []story{
		{name: "from a schema_migrations of file names and times, numbers skipped", setup: handTable + handRows("001_a.sql", "003_c.sql", "010_d.sql"), files: numbered("001_a.sql", "003_c.sql", "010_d.sql", "011_e.sql"),
			want: []string{"1 m/001_a.sql: applied " + hand + none, "3 m/003_c.sql: applied " + hand + none, "10 m/010_d.sql: applied " + hand + none, "11 m/011_e.sql: pending"},
			says: []string{"note pending"}, version: 10},
		{name: "where a number is there twice, and both were applied", setup: handTable + handRows("001_a.sql", "002_b.sql", "002_c.sql", "003_d.sql"), files: numbered("001_a.sql", "002_b.sql", "002_c.sql", "003_d.sql"),
			want: []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "3 m/003_d.sql: applied " + hand + none, "- m/002_c.sql: applied " + hand + none},
			says: []string{"refuse not-accepted", "note order-unproven"}, propose: []string{`{file: m/002_c.sql, after: "002_b"}`}, version: 3},
		{name: "where a number is there twice, and the second was applied first", setup: handTable + handRows("001_a.sql", "002_c.sql", "002_b.sql"), files: numbered("001_a.sql", "002_b.sql", "002_c.sql"),
			want: []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "- m/002_c.sql: applied " + hand + none},
			says: []string{"refuse not-accepted", "note order-unproven"}, propose: []string{`{file: m/002_c.sql, after: "001_a"}`}, version: 2},
		{name: "where a number is there twice, and one was applied", setup: handTable + handRows("001_a.sql", "002_b.sql"), files: numbered("001_a.sql", "002_b.sql", "002_c.sql"),
			want: []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "- m/002_c.sql: out-of-order"}, says: []string{"refuse out-of-order m/002_c.sql"}, version: 2},
		{name: "where a number is there twice, and both are accepted", setup: handTable + handRows("001_a.sql", "002_b.sql", "002_c.sql"), files: numbered("001_a.sql", "002_b.sql", "002_c.sql"), accept: []folder.Accept{{File: "m/002_c.sql", After: "002_b"}},
			want: []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "2 m/002_c.sql: applied " + hand + none},
			says: []string{"note order-unproven"}, propose: []string{`{file: m/002_c.sql, after: "002_b"}`}, version: 2},
		{name: "where one was run in one transaction with others, so that all times are equal", setup: handTable + "BEGIN; INSERT INTO schema_migrations (filename) VALUES ('001_a.sql'), ('002_b.sql'), ('002_c.sql'); COMMIT",
			files: numbered("001_a.sql", "002_b.sql", "002_c.sql"),
			want:  []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "- m/002_c.sql: applied " + hand + none},
			says:  []string{"refuse not-accepted", "note order-unproven"}, propose: []string{`{file: m/002_c.sql, after: "002_b"}`}, version: 2},
		{name: "by paths of another machine and names without an ending", setup: `CREATE TABLE applied_migrations (id serial, name varchar(80), ran date); INSERT INTO applied_migrations (name) VALUES ('/app/m/001_a.sql'), ('C:\app\m\002_b.sql'), ('./003_c'), (' 004_d.sql ')`,
			files: numbered("001_a.sql", "002_b.sql", "003_c.sql", "004_d.sql"),
			want:  []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "3 m/003_c.sql: applied " + hand + none, "4 m/004_d.sql: applied " + hand + none}, version: 4},
		{name: "where files were applied in the order of their names", setup: handTable + handRows("1_a.sql", "10_c.sql", "2_b.sql"), files: numbered("1_a.sql", "2_b.sql", "10_c.sql"),
			want: []string{"1 m/1_a.sql: applied " + hand + none, "2 m/2_b.sql: applied " + hand + none, "10 m/10_c.sql: applied " + hand + none}, says: []string{"warn another-order m/10_c.sql"}, version: 10},
		{name: "with hashes of the runner's own", setup: `CREATE TABLE migrations (name text, checksum text, applied_at timestamp); INSERT INTO migrations VALUES ('001_a.sql', '` + hash("001_a.sql") + `', now()), ('002_b.sql', '` + hash("other") + `', now())`,
			files: numbered("001_a.sql", "002_b.sql"), want: []string{"1 m/001_a.sql: applied " + hand + ", hash equal", "2 m/002_b.sql: edited " + hand + ", hash differs"}, says: []string{"refuse edited m/002_b.sql"}, version: 2},
		{name: "with hashes of nobody knows what", setup: `CREATE TABLE migrations (name text, checksum text); INSERT INTO migrations VALUES ('001_a.sql', '` + hash("salted") + `')`,
			files: numbered("001_a.sql"), want: []string{"1 m/001_a.sql: applied " + hand + none}, version: 1},
		{name: "where the runner wrote that one failed", setup: `CREATE TABLE migrations (name text, success boolean); INSERT INTO migrations VALUES ('001_a.sql', true), ('002_b.sql', false)`,
			files: numbered("001_a.sql", "002_b.sql"), want: []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: half-applied " + hand + none}, says: []string{"refuse half-applied m/002_b.sql"}, version: 2},
		{name: "from a counter", setup: `CREATE TABLE schema_version (version int NOT NULL); INSERT INTO schema_version VALUES (2)`, files: numbered("001_a.sql", "002_b.sql", "003_c.sql"),
			want: []string{"1 m/001_a.sql: applied " + hand + none, "2 m/002_b.sql: applied " + hand + none, "3 m/003_c.sql: pending"}, says: []string{"note pending"}, version: 2},
		{name: "from dbmate's table", setup: `CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20260101000000'), ('20260103000000'), ('20260105000000')`,
			files: numbered("20260101000000_a.sql", "20260102000000_b.sql", "20260103000000_c.sql"),
			want: []string{"20260101000000 m/20260101000000_a.sql: applied dbmate or Rails" + none, "20260102000000 m/20260102000000_b.sql: out-of-order", "20260103000000 m/20260103000000_c.sql: applied dbmate or Rails" + none,
				"- version 20260105000000: newer dbmate or Rails, in public.schema_migrations"},
			says: []string{"refuse out-of-order m/20260102000000_b.sql", "refuse newer table public.schema_migrations"}, version: 20260103000000},
		{name: "from goose's table", setup: `CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp DEFAULT now());
			INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (2, true), (2, false), (3, true)`,
			files: numbered("00001_a.sql", "00002_b.sql", "00003_c.sql"), want: []string{"1 m/00001_a.sql: applied goose" + none, "2 m/00002_b.sql: out-of-order", "3 m/00003_c.sql: applied goose" + none},
			says: []string{"refuse out-of-order m/00002_b.sql"}, version: 3},
		{name: "from knex's table, some of it programs", setup: `CREATE TABLE knex_migrations (id serial PRIMARY KEY, name varchar(255), batch int, migration_time timestamptz);
			CREATE TABLE knex_migrations_lock (index serial PRIMARY KEY, is_locked int); INSERT INTO knex_migrations_lock (is_locked) VALUES (0);
			INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('001_a.sql', 1, now()), ('002_b.js', 1, now())`,
			files: numbered("001_a.sql", "003_c.sql"), want: []string{"1 m/001_a.sql: applied knex" + none, "3 m/003_c.sql: pending", "- 002_b.js: missing knex, in public.knex_migrations"},
			says: []string{"refuse generated-by-code table public.knex_migrations", "note pending"}, version: 1},
		{name: "from node-pg-migrate's table", setup: `CREATE TABLE pgmigrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL); INSERT INTO pgmigrations (name, run_on) VALUES ('1600000000000_a', now())`,
			files: numbered("1600000000000_a.sql"), want: []string{"1600000000000 m/1600000000000_a.sql: applied node-pg-migrate" + none}, version: 1600000000000},
		{name: "where nothing of the evidence is here", setup: handTable + handRows("init.sql", "users.sql"), files: numbered("001_a.sql"), want: []string{"1 m/001_a.sql: pending"},
			says: []string{"refuse unmatched-evidence table public.schema_migrations", "note pending"}, version: -1},
		{name: "where a table only sounds like evidence", setup: `CREATE TABLE bird_migrations (species text, flock int); INSERT INTO bird_migrations VALUES ('swallow', 3)`, files: numbered("001_a.sql"), want: []string{"1 m/001_a.sql: pending"},
			says: []string{"warn unmatched-evidence table public.bird_migrations", "note pending"}, version: -1},
		{name: "where files are missing in between", setup: handTable + handRows("001_a.sql", "002_b.sql", "003_c.sql"), files: numbered("001_a.sql", "003_c.sql"),
			want: []string{"1 m/001_a.sql: applied " + hand + none, "3 m/003_c.sql: applied " + hand + none, "- 002_b.sql: missing " + hand + ", in public.schema_migrations"}, says: []string{"refuse missing table public.schema_migrations"}, version: 3},
	}
	tell(t, tests)
}
