package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// shop is an application with a database, for the commands of migrate.
type shop struct {
	t   *testing.T
	dir string
	url string
	env []string
}

// two are migrations with their ways back.
var two = map[string]string{
	"migrations/001_items.up.sql":   "CREATE TABLE items (id bigint PRIMARY KEY, name text);\n",
	"migrations/001_items.down.sql": "DROP TABLE items;\n",
	"migrations/002_price.up.sql":   "ALTER TABLE items ADD COLUMN price bigint;\nCREATE INDEX items_price ON items (price);\n",
	"migrations/002_price.down.sql": "ALTER TABLE items DROP COLUMN price;\n",
}

// newShop makes the application and an empty database. Copies go to the same server, which is quicker than one of their own.
func newShop(t *testing.T, files map[string]string) *shop {
	t.Helper()
	s := &shop{t: t, dir: write(t, shopFiles(files)), url: pgtest.Database(t)}
	s.env = []string{"SHOP=" + s.url, "SCRATCH=" + pgtest.Server(t), "USER=root"}
	return s
}

// shopFiles are those of the application with a database; an empty text takes a file away.
func shopFiles(changes ...map[string]string) map[string]string {
	files := tiny()
	files["pipeline.yaml"] += "database: {migrations: migrations, backup: {dir: backups}}\n"
	for _, c := range changes {
		maps.Copy(files, c)
	}
	maps.DeleteFunc(files, func(_, text string) bool { return text == "" })
	return files
}

// run runs a command of migrate on the database. No password is ever shown.
func (s *shop) run(args ...string) outcome {
	s.t.Helper()
	got := pipelineWith(s.t, s.dir, s.env, append([]string{"migrate", "--database", "env://SHOP", "--scratch", "env://SCRATCH"}, args...)...)
	for _, password := range []string{pgtest.Password, url.QueryEscape(pgtest.Password)} {
		assert.NotContains(s.t, got.out, password)
	}
	return got
}

// must is run, of a command that ends well.
func (s *shop) must(args ...string) outcome {
	s.t.Helper()
	got := s.run(args...)
	require.Equal(s.t, 0, got.code, got.out)
	return got
}

// decode reads what a command prints with --output json, whatever it ends with.
func (s *shop) decode(into any, args ...string) outcome {
	s.t.Helper()
	got := s.run(append(args, "--output", "json")...)
	require.NoError(s.t, json.Unmarshal([]byte(got.stdout), into), got.out)
	return got
}

func (s *shop) value(query string) string { s.t.Helper(); return pgtest.Value(s.t, s.url, query) }

func (s *shop) write(name, text string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
}

// tables are those of the application.
const tables = "SELECT coalesce(string_agg(relname, ' ' ORDER BY relname), '') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace" +
	" AND relname !~ '^(schema_migrations|deploy_.*)$'"

func TestMigrateGoesUpTellsWhereItIsAndGoesBack(t *testing.T) {
	s := newShop(t, two)

	plan := s.must("plan").stdout
	assert.Contains(t, plan, "the database is at no version\n\n1  001_items  (expand)\n  1  expand    CREATE TABLE items (id bigint PRIMARY KEY, name text)\n")
	assert.Contains(t, plan, "warn: migrations/002_price.up.sql:2: Nobody can write items while the index is built (require-concurrent-index-creation)")
	assert.Contains(t, plan, "    CREATE INDEX CONCURRENTLY items_price")
	var planned struct {
		Version int
		Pending []struct {
			Name       string
			Class      string
			Statements []struct{ Line int } `json:"statement_list"`
		}
	}
	require.Equal(t, 0, s.decode(&planned, "plan").code)
	assert.Equal(t, -1, planned.Version)
	require.Len(t, planned.Pending, 2)
	assert.Equal(t, "002_price", planned.Pending[1].Name)
	assert.Equal(t, 2, planned.Pending[1].Statements[1].Line)
	assert.Empty(t, s.value(tables), "a plan changes nothing")
	assert.Contains(t, s.must("history").stdout, "nothing is recorded")
	assert.Contains(t, s.must("status").stdout, "1  001_items  pending\n2  002_price  pending\n")

	var up struct {
		Backup    struct{ Proven bool }
		Rehearsal struct{ Verdict string }
		Outcome   struct{ From, To int }
	}
	got := s.decode(&up, "up", "--release", "v2", "--running", "v1")
	require.Equal(t, 0, got.code, got.out)
	assert.True(t, up.Backup.Proven)
	assert.Equal(t, "proven", up.Rehearsal.Verdict)
	assert.Equal(t, []int{-1, 2}, []int{up.Outcome.From, up.Outcome.To})
	assert.Contains(t, got.out, "backing up, and restoring the backup to prove it", "who watches is told")
	assert.NotContains(t, got.stdout, "backing up, and", "and a program is not")
	assert.Contains(t, s.must("up").stdout, "nothing to do: the database is at version 2")
	assert.Contains(t, s.must("plan").stdout, "nothing to do: it has every migration")
	assert.Regexp(t, `(?m)^2  002_price  applied  20\d\d-\d\d-\d\d \d\d:\d\d  \S+@\S+$`, s.must("status").stdout)

	down := s.must("down", "--steps", "1").stdout
	assert.Regexp(t, `backup \S*backups/backup-\S+\.dump: .*, proven in `, down)
	assert.Regexp(t, `(?m)^2  002_price  taken back  1 statement  \S+\nthe database is at version 1, was at version 2$`, down)
	assert.Equal(t, "1", s.value("SELECT count(*) FROM information_schema.columns WHERE table_name = 'items' AND column_name = 'name'"))
	var status struct {
		Migrations []struct{ Name, State string }
	}
	require.Equal(t, 0, s.decode(&status, "status").code)
	assert.Equal(t, []struct{ Name, State string }{{"001_items", "applied"}, {"002_price", "pending"}}, status.Migrations)
	var back struct{ Outcome struct{ From, To int } }
	require.Equal(t, 0, s.decode(&back, "down", "--to", "-1").code)
	assert.Equal(t, []int{1, -1}, []int{back.Outcome.From, back.Outcome.To})
	assert.Empty(t, s.value(tables))

	history := s.must("history").stdout
	assert.Regexp(t, `^20\S+ \S+ UTC, by \S+@\S+, release v2, backup \S+, rehearsed\n  1  001_items  up  applied  1 statement   .* WAL\n  2  002_price  up  applied  2 statements  .* WAL  AccessExclusive\n`, history)
	assert.Regexp(t, `(?m)^  1  001_items  down  applied  1 statement `, history)
	var recorded struct {
		History []struct {
			Direction, Status, Release string
			BackupID                   string `json:"backup_id"`
		}
	}
	require.Equal(t, 0, s.decode(&recorded, "history").code)
	require.Len(t, recorded.History, 4)
	assert.Equal(t, "v2", recorded.History[0].Release)
	assert.NotEmpty(t, recorded.History[3].BackupID)
}

func TestMigrateRehearseTellsWhatItMeasuredAndChangesNothing(t *testing.T) {
	s := newShop(t, two)
	var report struct {
		Verdict    string
		Statements []map[string]any
		Backup     struct{ Proven bool }
		RoundTrip  map[string]any `json:"round_trip"`
	}
	got := s.decode(&report, "rehearse")
	assert.Equal(t, 0, got.code, got.out)
	assert.Equal(t, "proven", report.Verdict)
	assert.True(t, report.Backup.Proven)
	assert.NotEmpty(t, report.RoundTrip)
	require.Len(t, report.Statements, 3)
	for _, key := range []string{"version", "sql", "class", "lock", "rewrite", "scan", "wal_bytes", "blocked_reads_ms", "blocked_writes_ms", "verdict"} {
		assert.Contains(t, report.Statements[0], key)
	}
	assert.Equal(t, "NULL", s.value("SELECT to_regclass('schema_migrations')"))
	assert.Equal(t, "NULL", s.value("SELECT to_regclass('items')"))
}

func TestMigrationThatItsRehearsalRefusesIsNotApplied(t *testing.T) {
	s := newShop(t, two)
	s.must("up", "--no-rehearsal")
	pgtest.Exec(t, s.url, "INSERT INTO items VALUES (1, 'lamp', 3)")
	s.write("migrations/003_trim.up.sql", "UPDATE items SET name = 'a lamp';\n")
	refused := s.run("up")
	assert.Equal(t, 1, refused.code, refused.out)
	assert.Contains(t, refused.stdout, "rehearsal: refused in")
	assert.Contains(t, refused.stdout, "-- deploy: changes items.name")
	assert.Regexp(t, `(?m)^pipeline: the rehearsal refuses the migrations: migrations/003_trim.up.sql: values of column public.items.name changed`, refused.out)
	assert.Regexp(t, `(?m)^the backup from before is \S+\.dump$`, refused.out)
	assert.Equal(t, "lamp", s.value("SELECT name FROM items"))
	assert.Contains(t, s.must("status").stdout, "3  003_trim   pending")

	s.write("migrations/003_trim.up.sql", "ALTER TABLE items ADD CONSTRAINT cheap CHECK (price < 3);\n")
	failed := s.run("rehearse")
	assert.Equal(t, 1, failed.code, failed.out)
	assert.Contains(t, failed.stdout, "REFUSED")
	assert.Contains(t, failed.out, "migrations/003_trim.up.sql:1")
	assert.Contains(t, failed.out, "23514")
	assert.NotContains(t, failed.out, "lamp", "PostgreSQL's detail of this error quotes the row")
	assert.Equal(t, "0", s.value("SELECT count(*) FROM pg_constraint WHERE conname = 'cheap'"))
	assert.NotEqual(t, 0, s.run("up", "--no-rehearsal").code)
	assert.Contains(t, s.must("status").stdout, "3  003_trim   pending", "what fails leaves no trace")
}

func TestMigrationThatChangedAfterItWasAppliedStopsTheNextRun(t *testing.T) {
	s := newShop(t, two)
	s.must("up", "--no-rehearsal")
	s.write("migrations/001_items.up.sql", "CREATE TABLE items (id bigint PRIMARY KEY, name text, colour text);\n")
	s.write("migrations/003_more.up.sql", "CREATE TABLE more ();\n")
	for _, command := range []string{"status", "plan", "rehearse", "up"} {
		got := s.run(command)
		assert.Equal(t, 1, got.code, got.out)
		assert.Contains(t, got.out, "migrations/001_items.up.sql (version 1): ", command)
	}
	assert.Contains(t, s.run("status").stdout, "1  001_items  edited ")
	assert.Equal(t, "items", s.value(tables))
}

func TestReleaseBelowTheFloorIsNamed(t *testing.T) {
	s := newShop(t, two)
	s.must("up", "--no-rehearsal", "--release", "v1")
	assert.Contains(t, s.must("floor", "v1").stdout, "v1 works on the schema")
	s.write("migrations/003_drop.up.sql", "ALTER TABLE items DROP COLUMN price;\n")
	s.write("migrations/003_drop.down.sql", "ALTER TABLE items ADD COLUMN price bigint;\nCREATE INDEX items_price ON items (price);\n")
	s.must("up", "--release", "v3", "--running", "v2")
	below := s.run("floor", "v1")
	assert.Equal(t, 1, below.code, below.out)
	assert.Contains(t, below.out, "v1")
	assert.Contains(t, below.out, "price")
	var floor struct {
		Release string
		Allowed bool
	}
	require.Equal(t, 0, s.decode(&floor, "floor", "v3").code)
	assert.True(t, floor.Allowed)
	assert.Contains(t, s.must("status").stdout, "no release before v2 works on this schema")
}

func TestBackfillIsPausedAndGoesOn(t *testing.T) {
	s := newShop(t, two)
	s.must("up", "--no-rehearsal")
	none := s.run("pause")
	assert.Equal(t, 1, none.code, none.out)
	pgtest.Exec(t, s.url, "INSERT INTO items SELECT n, 'lamp' FROM generate_series(1, 1000) n")
	s.write("migrations/003_prices.up.sql", "-- deploy: backfill items by id batch 10 pause 200ms\n-- deploy: changes items.price\n"+
		"UPDATE items SET price = 5 WHERE price IS NULL AND id BETWEEN $1 AND $2;\n")

	running := command(t.Context(), s.dir, s.env, "migrate", "up", "--no-rehearsal", "--database", "env://SHOP", "--scratch", "env://SCRATCH")
	var said screen
	running.Stdout, running.Stderr = &said, &said
	require.NoError(t, running.Start())
	ended := make(chan error, 1)
	go func() { ended <- running.Wait() }()
	pgtest.Eventually(t, s.url, "EXISTS (SELECT FROM items WHERE price = 5)")
	assert.Contains(t, s.must("pause").stdout, "3  003_prices: backfill paused")
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("a paused run did not end")
	}
	assert.Equal(t, 1, running.ProcessState.ExitCode(), said.String())
	assert.Contains(t, said.String(), "paused")
	assert.Equal(t, "true", s.value("SELECT bool_or(price IS NULL) FROM items"))
	assert.Contains(t, s.must("status").stdout, "backfill paused")

	s.write("migrations/003_prices.up.sql", strings.Replace(s.read("migrations/003_prices.up.sql"), "pause 200ms", "pause 0s", 1))
	var resumed struct{ State string }
	require.Equal(t, 0, s.decode(&resumed, "resume", "--version", "3").code)
	assert.Equal(t, "interrupted", resumed.State)
	s.must("up", "--no-rehearsal")
	assert.Equal(t, "false", s.value("SELECT bool_or(price IS NULL) FROM items"))
}

func (s *shop) read(name string) string {
	s.t.Helper()
	data, err := fs.ReadFile(os.DirFS(s.dir), name)
	require.NoError(s.t, err)
	return string(data)
}

func TestDatabaseOfAnotherToolIsTakenOver(t *testing.T) {
	s := newShop(t, two)
	pgtest.Exec(t, s.url, two["migrations/001_items.up.sql"]+"CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false)")
	looked := s.must("adopt").stdout
	assert.Contains(t, looked, "golang-migrate")
	assert.Contains(t, looked, "nothing was written: run again with --write")
	assert.Equal(t, "NULL", s.value("SELECT to_regclass('deploy_migrations')"))
	var adopted struct{ Written bool }
	require.Equal(t, 0, s.decode(&adopted, "adopt", "--write").code)
	assert.True(t, adopted.Written)
	assert.Regexp(t, `(?m)^1  001_items  applied .*\n2  002_price  pending$`, s.must("status").stdout)
	s.must("up", "--no-rehearsal")

	pgtest.Exec(t, s.url, "UPDATE schema_migrations SET dirty = true")
	dirty := s.run("up", "--no-rehearsal")
	assert.Equal(t, 1, dirty.code, dirty.out)
}
