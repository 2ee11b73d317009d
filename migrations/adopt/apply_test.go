package adopt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

var who = Who{Run: "run-1", Actor: "ada", Release: "v2", Tool: "pipeline test"}

// theirs is every byte of other tools' tables that PostgreSQL shows: rows with the transactions that wrote them and their
// places, the tables' files, and the sequences.
func theirs(t testing.TB, address string) string {
	t.Helper()
	conn := session(t, address)
	rows, err := conn.Query(context.Background(), `SELECT format('%I.%I', n.nspname, c.relname), CASE c.relkind WHEN 'S' THEN 'concat_ws('' '', t.last_value, t.is_called)' ELSE 't::text' END, c.relfilenode::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'S') AND n.nspname !~ '^(pg_|information_schema)' AND c.relname !~ '^deploy_' ORDER BY 1`)
	require.NoError(t, err)
	var all strings.Builder
	var queries []string
	for rows.Next() {
		var quoted, row, file string
		require.NoError(t, rows.Scan(&quoted, &row, &file))
		fmt.Fprintln(&all, quoted, file)
		queries = append(queries, "SELECT string_agg(concat_ws(' ', t.xmin, t.ctid, "+row+"), chr(10) ORDER BY t.ctid) FROM "+quoted+" t")
	}
	require.NoError(t, rows.Err())
	for _, q := range queries {
		all.WriteString(pgtest.Value(t, address, q) + "\n")
	}
	return all.String()
}

const historyQuery = `SELECT string_agg(concat_ws(' ', run, version, name, direction, status, actor, release, tool_version, statements, done), chr(10) ORDER BY id) FROM deploy_migrations`

func apply(t testing.TB, address string, files fs.FS, accept []folder.Accept, more ...string) error {
	t.Helper()
	conn := session(t, address)
	p, err := Look(context.Background(), conn, files, folder.Options{Dir: "m", Accept: accept}, more)
	require.NoError(t, err)
	return p.Apply(context.Background(), conn, who)
}

func TestApplyingWritesOnlyWhatIsOurs(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1))+drizzleRow(sql("0001_b"), jan(2))+handTable+handRows("001_init.sql", "002_more.sql"))
	files := with(twoFolders(), "m/0000_a.down.sql", "DROP TABLE a", "server/migrations/001_init.down.sql", "DROP TABLE init", "m/0001_b.sql", sql("0001_b"))
	accept := []folder.Accept{{File: "server/migrations/001_init.sql"}, {File: "server/migrations/002_more.sql", After: "0001_b"}}
	before, content := theirs(t, address), maps.Clone(files)
	require.NoError(t, apply(t, address, files, accept))
	assert.Equal(t, before, theirs(t, address))
	assert.Equal(t, content, files)

	assert.Equal(t, fmt.Sprintf("run-1 %d 0000_a up adopted ada v2 pipeline test 2 2\nrun-1 %d 0001_b up adopted ada v2 pipeline test 2 2", jan(1), jan(2)), pgtest.Value(t, address, historyQuery))
	assert.Equal(t, fmt.Sprintf("(%d,f)", jan(2)), pgtest.Value(t, address, "SELECT v FROM deploy_schema_migrations v"), "schema_migrations is another's")
	source, err := folder.Open(files, folder.Options{Dir: "m", Accept: accept})
	require.NoError(t, err)
	assert.Equal(t, source.Migrations()[0].SHA256, pgtest.Value(t, address, "SELECT sha256 FROM deploy_migrations WHERE id = 1"))
	assert.Equal(t, "-- deploy: file m/0000_a.down.sql\nDROP TABLE a\n-- deploy: file server/migrations/001_init.down.sql\nDROP TABLE init\n", pgtest.Value(t, address, "SELECT down_sql FROM deploy_migrations WHERE id = 1"))
	assert.Equal(t, "server/migrations/001_init.sql: applied by a runner made by hand (public.schema_migrations, no hash stored) at 2026-01-01T00:00:00Z; "+
		"m/0000_a.sql: applied by drizzle-orm (drizzle.__drizzle_migrations, hash equal)", pgtest.Value(t, address, "SELECT evidence FROM deploy_migrations WHERE id = 1"))
}

func TestApplyingTwiceChangesNothing(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1)))
	conn := session(t, address)
	p, err := Look(context.Background(), conn, journal("0000_a"), folder.Options{Dir: "m"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('deploy_migrations')"), "looking writes nothing")
	require.NoError(t, p.Apply(context.Background(), conn, who))
	first := pgtest.Value(t, address, "SELECT string_agg(concat_ws(' ', xmin, m::text), ',') FROM deploy_migrations m")
	require.ErrorIs(t, p.Apply(context.Background(), conn, who), ErrChanged, "the plan was of another state")

	again := look(t, address, journal("0000_a"), nil)
	assert.True(t, again.Empty())
	require.NoError(t, again.Apply(context.Background(), conn, who))
	assert.Equal(t, first, pgtest.Value(t, address, "SELECT string_agg(concat_ws(' ', xmin, m::text), ',') FROM deploy_migrations m"))

	pgtest.Exec(t, address, drizzleRow(sql("0001_b"), jan(2))) // the application went on migrating
	require.NoError(t, apply(t, address, journal("0000_a", "0001_b"), nil))
	assert.Equal(t, "2", pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations"))
	assert.Equal(t, fmt.Sprintf("(%d,f)", jan(2)), pgtest.Value(t, address, "SELECT v FROM schema_migrations v"))
}

func TestOneOfTwoAtOnceApplies(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1)))
	var plans []*Plan
	for range 4 {
		plans = append(plans, look(t, address, journal("0000_a"), nil))
	}
	errs := make([]error, len(plans))
	var done sync.WaitGroup
	for i, p := range plans {
		conn := session(t, address)
		done.Go(func() { errs[i] = p.Apply(context.Background(), conn, who) })
	}
	done.Wait()
	applied := 0
	for _, err := range errs {
		if err == nil {
			applied++
			continue
		}
		require.ErrorIs(t, err, ErrChanged)
	}
	assert.Equal(t, 1, applied)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations"))
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM schema_migrations"))
}

func TestKilledInTheMiddleNothingIsWritten(t *testing.T) {
	address := pgtest.Database(t)
	files := journal("0000_a", "0001_b")
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1)))
	require.NoError(t, apply(t, address, files, nil)) // so that the tables are there
	pgtest.Exec(t, address, drizzleRow(sql("0001_b"), jan(2)))
	conn := session(t, pgtest.Named(address, "victim"))
	p, err := Look(context.Background(), conn, files, folder.Options{Dir: "m"}, nil)
	require.NoError(t, err)
	blocker := session(t, address)
	tx, err := blocker.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE") // the version is written last
	require.NoError(t, err)
	ended := make(chan error)
	go func() { ended <- p.Apply(context.Background(), conn, who) }()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'victim' AND wait_event_type = 'Lock')")
	pgtest.Exec(t, address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'")
	require.Error(t, <-ended)
	require.NoError(t, tx.Rollback(context.Background()))
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations"))
	assert.Equal(t, fmt.Sprint(jan(1)), pgtest.Value(t, address, "SELECT version FROM schema_migrations"))
	require.NoError(t, apply(t, address, files, nil))
	assert.Equal(t, fmt.Sprint(jan(2)), pgtest.Value(t, address, "SELECT version FROM schema_migrations"))
}

func TestWhatWasLookedAtIsWhatIsApplied(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, address string, files fstest.MapFS){
		"a line is added to the evidence": func(t *testing.T, address string, _ fstest.MapFS) {
			pgtest.Exec(t, address, drizzleRow(sql("0001_b"), jan(2)))
		},
		"a file is edited":  func(_ *testing.T, _ string, files fstest.MapFS) { with(files, "m/0000_a.sql", "SELECT 2") },
		"a file is broken":  func(_ *testing.T, _ string, files fstest.MapFS) { with(files, "m/0000_a.sql", "COMMIT") },
		"a file is removed": func(_ *testing.T, _ string, files fstest.MapFS) { delete(files, "m/0001_b.sql") },
		"another table appears": func(t *testing.T, address string, _ fstest.MapFS) {
			pgtest.Exec(t, address, handTable+handRows("0000_a.sql"))
		},
		"golang-migrate writes a version": func(t *testing.T, address string, _ fstest.MapFS) {
			pgtest.Exec(t, address, fmt.Sprintf("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (%d, false)", jan(1)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, files := pgtest.Database(t), journal("0000_a", "0001_b")
			pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1)))
			p := look(t, address, files, nil)
			change(t, address, files)
			require.ErrorIs(t, p.Apply(context.Background(), session(t, address), who), ErrChanged)
			assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('deploy_migrations')"))
		})
	}
}

func TestARefusedPlanIsNotApplied(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow("SELECT 1", jan(1))+drizzleRow(sql("0002_c"), jan(3)))
	err := apply(t, address, journal("0000_a", "0001_b", "0002_c"), nil)
	require.ErrorIs(t, err, ErrRefused)
	assert.ErrorContains(t, err, "m/0000_a.sql: it was edited after being applied")
	assert.ErrorContains(t, err, "m/0001_b.sql: nothing says that it was applied, and 0002_c, which comes after it, was: it would never run (out-of-order): generate it anew on top of the others; "+
		"where it was applied by hand, say so to drizzle-orm: INSERT INTO \"drizzle\".\"__drizzle_migrations\" (hash, created_at) VALUES ('"+folder.Hash([]byte(sql("0001_b")))+"', 1767312000000)")
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('deploy_migrations')"))

	// The SQL that the finding says does what it says.
	pgtest.Exec(t, address, "INSERT INTO \"drizzle\".\"__drizzle_migrations\" (hash, created_at) VALUES ('"+folder.Hash([]byte(sql("0001_b")))+"', 1767312000000)")
	p := look(t, address, with(journal("0000_a", "0001_b", "0002_c"), "m/0000_a.sql", "SELECT 1"), nil)
	assert.Empty(t, p.Findings)
}

func TestRecordFollowsWhatIsAcceptedLater(t *testing.T) {
	address := pgtest.Database(t)
	files := pgtest.Files("1_a.sql", sql("a"))
	pgtest.Exec(t, address, handTable+handRows("1_a.sql"))
	require.NoError(t, apply(t, address, files, nil))
	with(files, "m/1_b.sql", sql("b"))
	pgtest.Exec(t, address, "INSERT INTO schema_migrations VALUES ('1_b.sql')")
	require.ErrorIs(t, apply(t, address, files, nil), ErrRefused)
	accept := []folder.Accept{{File: "m/1_b.sql", After: "1_a"}}
	require.NoError(t, apply(t, address, files, accept))
	source, err := folder.Open(files, folder.Options{Dir: "m", Accept: accept})
	require.NoError(t, err)
	assert.Equal(t, source.Migrations()[0].SHA256, pgtest.Value(t, address, "SELECT sha256 FROM deploy_migrations ORDER BY id DESC LIMIT 1"))

	// One that we applied and somebody edited is recorded anew once somebody has looked.
	with(files, "m/1_a.sql", "-- a comment\n"+sql("a"))
	require.ErrorIs(t, apply(t, address, files, accept), ErrRefused)
	with(files, "m/1_a.sql", "-- deploy: allow edited a comment was added\n"+sql("a"))
	require.NoError(t, apply(t, address, files, accept))
	assert.Equal(t, "3", pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations"))
	assert.True(t, look(t, address, files, accept).Empty())
}

func TestWhatWasTakenBackIsPending(t *testing.T) {
	address := pgtest.Database(t)
	files := pgtest.Files("1_a.up.sql", sql("a"), "2_b.up.sql", sql("b"))
	pgtest.Exec(t, address, "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (2, false)")
	require.NoError(t, apply(t, address, files, nil))
	pgtest.Exec(t, address, "UPDATE schema_migrations SET version = 1") // by golang-migrate's command line
	p := look(t, address, files, nil)
	assert.Equal(t, []Verdict{Applied, Pending}, []Verdict{p.Files[0].Verdict, p.Files[1].Verdict})
	assert.True(t, p.Empty())
}

func TestRolesWithoutPrivilegesAreTold(t *testing.T) {
	address := pgtest.Database(t)
	role := "limited_" + strings.ToLower(t.Name()[4:12])
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1))+"CREATE ROLE "+role+" LOGIN PASSWORD 'x'; CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.schema_migrations (version text)")
	t.Cleanup(func() {
		pgtest.Exec(t, address, "DROP OWNED BY "+role+"; DROP ROLE "+role)
	})
	limited := strings.Replace(address, "postgres:"+urlPassword(address), role+":x", 1)
	p := look(t, limited, journal("0000_a"), nil)
	assert.Equal(t, []string{"refuse unreadable-evidence table drizzle.__drizzle_migrations", "refuse unreadable-evidence table elsewhere.schema_migrations"}, levels(p.Findings)[:2])
	require.ErrorIs(t, p.Apply(context.Background(), session(t, limited), who), ErrRefused)

	pgtest.Exec(t, address, "GRANT USAGE ON SCHEMA drizzle TO "+role+"; GRANT SELECT ON drizzle.__drizzle_migrations TO "+role)
	p = look(t, limited, journal("0000_a"), nil)
	assert.Equal(t, []string{"warn unreadable-evidence table elsewhere.schema_migrations"}, levels(p.Findings))
	pgtest.Exec(t, address, "REVOKE CREATE ON SCHEMA public FROM PUBLIC") // as PostgreSQL 15 and later have it
	err := p.Apply(context.Background(), session(t, limited), who)
	require.ErrorContains(t, err, "permission denied for schema public")
	assert.ErrorContains(t, err, "the role needs CREATE on schema public")
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('deploy_migrations')"))

	pgtest.Exec(t, address, "ALTER TABLE drizzle.__drizzle_migrations ENABLE ROW LEVEL SECURITY") // hides every row of it
	assert.Equal(t, "refuse unreadable-evidence table drizzle.__drizzle_migrations", levels(look(t, limited, journal("0000_a"), nil).Findings)[0])
}

func levels(list []finding.Finding) []string {
	var texts []string
	for _, f := range list {
		texts = append(texts, fmt.Sprintf("%s %s %s", f.Level, f.Name, f.Object+f.File))
	}
	return texts
}

// urlPassword is the password as the URL has it.
func urlPassword(address string) string {
	_, rest, _ := strings.Cut(address, "postgres:")
	if strings.HasPrefix(rest, "//") {
		_, rest, _ = strings.Cut(rest, "postgres:")
	}
	password, _, _ := strings.Cut(rest, "@")
	return password
}

func TestApplyWaitsForAMigrator(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1)))
	migrator := session(t, address)
	id, err := database.GenerateAdvisoryLockId(migrator.Config().Database, "public", history.StockVersion)
	require.NoError(t, err)
	key, err := strconv.ParseInt(id, 10, 64)
	require.NoError(t, err)
	_, err = migrator.Exec(context.Background(), "SELECT pg_advisory_lock($1)", key)
	require.NoError(t, err)
	p := look(t, address, journal("0000_a"), nil)
	p.inputs.lockWait = time.Millisecond
	require.ErrorIs(t, p.Apply(context.Background(), session(t, address), who), ErrLocked)
	p.inputs.lockWait = time.Hour
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("enough")
	cancel(stop)
	require.ErrorIs(t, p.Apply(ctx, session(t, address), who), stop)

	ended := make(chan error)
	conn := session(t, address)
	go func() { ended <- p.Apply(context.Background(), conn, who) }()
	_, err = migrator.Exec(context.Background(), "SELECT pg_advisory_unlock($1)", key)
	require.NoError(t, err)
	require.NoError(t, <-ended)
}

func TestLookingEndsWithItsContext(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, drizzleTable+drizzleRow(sql("0000_a"), jan(1)))
	tx, err := session(t, address).Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "LOCK TABLE drizzle.__drizzle_migrations")
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	conn := session(t, pgtest.Named(address, "looker"))
	ended := make(chan error)
	go func() {
		_, err := Look(ctx, conn, journal("0000_a"), folder.Options{Dir: "m"}, nil)
		ended <- err
	}()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'looker' AND wait_event_type = 'Lock')")
	stop := errors.New("enough")
	cancel(stop)
	require.ErrorIs(t, <-ended, stop)
	require.NoError(t, tx.Rollback(context.Background()))
}

// The names and settings that people have must not matter.
func TestOddDatabasesAreRead(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE SCHEMA "Odd ""S"; CREATE SCHEMA shadow;
		CREATE FUNCTION shadow.array_agg(text) RETURNS text[] LANGUAGE sql AS 'SELECT NULL::text[]';
		CREATE FUNCTION shadow.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
		CREATE FUNCTION shadow.has_table_privilege(oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT false';
		CREATE DOMAIN shadow.label AS text; CREATE TYPE shadow.mood AS ENUM ('sad');
		CREATE TABLE "Odd ""S"."My ""migrations" (LIKE pg_class INCLUDING DEFAULTS);
		DROP TABLE "Odd ""S"."My ""migrations";
		CREATE TABLE "Odd ""S"."My ""migrations" ("File ""Name" shadow.label, dropped int, made int GENERATED ALWAYS AS (1) STORED, mood shadow.mood, at timestamptz DEFAULT now()) PARTITION BY LIST ("File ""Name");
		ALTER TABLE "Odd ""S"."My ""migrations" DROP COLUMN dropped;
		CREATE TABLE "Odd ""S".migrations_part PARTITION OF "Odd ""S"."My ""migrations" DEFAULT;
		INSERT INTO "Odd ""S"."My ""migrations" ("File ""Name") VALUES ('1_a.sql'), (NULL);
		CREATE VIEW migrations AS SELECT '9_x.sql' AS name`)
	conn := session(t, address)
	_, err := conn.Exec(context.Background(), `CREATE TEMP TABLE schema_migrations AS SELECT '9_x.sql' AS name; SET search_path = "Odd ""S", shadow, pg_catalog`, pgtest.Simply)
	require.NoError(t, err)
	p, err := Look(context.Background(), conn, pgtest.Files("1_a.sql", "SELECT 1"), folder.Options{Dir: "m"}, nil)
	require.NoError(t, err)
	assert.Equal(t, []Evidence{{Runner: byHand, Table: `Odd "S.My "migrations`, Rows: 2, Files: 1}}, p.Evidence)
	assert.Empty(t, p.Findings)
	require.NoError(t, p.Apply(context.Background(), conn, who))
	assert.Equal(t, "1", pgtest.Value(t, address, `SELECT version FROM "Odd ""S".schema_migrations`))
	var path string
	require.NoError(t, conn.QueryRow(context.Background(), "SHOW search_path").Scan(&path))
	assert.Equal(t, `"Odd ""S", shadow, pg_catalog`, path, "the session is as it was")
}

// A table that holds other things too must not end up in a report.
func TestNoValueIsShownThatIsNoName(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE migrations (name text, note text); INSERT INTO migrations VALUES ('1_a.sql', 'ada@example.com'), ('bob@example.com: hunter2', ''), ('2_b.sql', '')`)
	p := look(t, address, pgtest.Files("1_a.sql", "SELECT 1"), nil)
	err := p.Apply(context.Background(), session(t, address), who)
	require.ErrorIs(t, err, ErrRefused)
	text := p.Text() + p.YAML() + err.Error() + fmt.Sprintf("%+v", p.Findings)
	assert.Contains(t, text, "2_b.sql")
	assert.Contains(t, text, "a file of another name")
	assert.NotContains(t, text, "example.com")
}

func TestManyLinesAreRead(t *testing.T) {
	const lines, here = 10_000, 500
	address := pgtest.Database(t)
	files := pgtest.Files()
	for i := range here {
		with(files, fmt.Sprintf("m/%05d_x.sql", i), "SELECT 1")
	}
	pgtest.Exec(t, address, handTable+fmt.Sprintf("INSERT INTO schema_migrations SELECT lpad(i::text, 5, '0') || '_x.sql', '2026-01-01'::timestamptz + i * interval '1 second' FROM generate_series(0, %d) i", lines-1))
	start := time.Now()
	p := look(t, address, files, nil)
	t.Logf("%d lines looked at in %s", lines, time.Since(start).Round(time.Millisecond))
	assert.Equal(t, []Evidence{{Runner: byHand, Table: "public.schema_migrations", Rows: lines, Files: here}}, p.Evidence)
	assert.Len(t, p.Files, lines)
	require.Len(t, p.Findings, mostShown+1)
	assert.Equal(t, "9480 more of its entries have no file in the folder", p.Findings[mostShown].Message)

	pgtest.Exec(t, address, fmt.Sprintf("DELETE FROM schema_migrations WHERE filename >= '%05d'", here))
	require.NoError(t, apply(t, address, files, nil))
	assert.Equal(t, fmt.Sprint(here), pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations"))

	pgtest.Exec(t, address, fmt.Sprintf("CREATE TABLE bird_migrations AS SELECT i::text AS name FROM generate_series(0, %d) i", mostRecords))
	p = look(t, address, files, nil)
	assert.Equal(t, []string{"warn unmatched-evidence table public.bird_migrations"}, levels(p.Findings))
}

func TestPlanNeedsAFileSystem(t *testing.T) {
	_, err := Look(context.Background(), session(t, pgtest.Database(t)), fs.FS(nil), folder.Options{Dir: "m"}, nil)
	assert.EqualError(t, err, "open migrations: no file system given")
}
