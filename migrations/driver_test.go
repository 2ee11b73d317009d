package migrations

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	conformance "github.com/golang-migrate/migrate/v4/database/testing"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// What golang-migrate's own driver does wrong (engine_facts_test.go), ours does right here.

const stateQuery = "SELECT coalesce((SELECT version || ' ' || dirty FROM schema_migrations), 'none')"

// testDriver is a driver with its lock free, as the engine would get it.
func testDriver(t testing.TB, address string) *driver {
	t.Helper()
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1"))
	d, err := open(context.Background(), m.options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	require.NoError(t, d.tables.Create(context.Background(), d.conn))
	return d
}

func TestDriverPassesTheEnginesOwnTests(t *testing.T) {
	d := testDriver(t, pgtest.Database(t))
	conformance.TestNilVersion(t, d)
	conformance.TestLockAndUnlock(t, d)
	conformance.TestRun(t, d, newReader("CREATE TABLE t (id int); INSERT INTO t VALUES (1)"))
	for _, version := range []int{2, 2, database.NilVersion, 7} { // TestSetVersion without dirty, which we only remember
		require.NoError(t, d.SetVersion(version, false))
		got, dirty, err := d.Version()
		require.NoError(t, err)
		assert.Equal(t, version, got)
		assert.False(t, dirty)
	}
	_, err := d.Open("")
	require.Error(t, err)
	require.ErrorContains(t, d.Drop(), "never dropped")
}

func TestFailureLeavesVersionAndTablesAsTheyWere(t *testing.T) { // A
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a ();", "2_b.up.sql", "CREATE TABLE t (a int);\nCREATE TABLE u (a int);\nSELECT 1/0;")
	outcome, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorContains(t, err, "m/2_b.up.sql:3: division by zero (22012)")
	assert.EqualValues(t, 1, outcome.To, "what succeeded stays")
	assert.Len(t, outcome.Applied, 1)
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('t')"))

	folder["m/2_b.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE t (a int);")}
	outcome, err = migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err, "corrected, it runs without a word about dirty")
	assert.EqualValues(t, 1, outcome.From)
	assert.EqualValues(t, 2, outcome.To)
}

func TestFailureOfTheFirstMigrationLeavesNoVersion(t *testing.T) {
	address := pgtest.Database(t)
	_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABEL t ();")).Up(context.Background())
	require.Error(t, err)
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
}

func TestFunctionBodiesWithSemicolonsRun(t *testing.T) { // B3
	address := pgtest.Database(t)
	outcome, err := migrator(t, address, pgtest.Files("1_f.up.sql", `
		CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$;
		CREATE FUNCTION two() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END;
		DO $do$ BEGIN PERFORM 1; END $do$;
		INSERT INTO schema_migrations SELECT 99, true WHERE one() = 2`)).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 4, outcome.Applied[0].Statements)
	assert.Equal(t, "1 2", pgtest.Value(t, address, "SELECT one() || ' ' || two()"))
}

func TestVersionIsNotLoweredWithoutAFile(t *testing.T) { // G
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "2_b.up.sql", "CREATE TABLE b ()", "2_b.down.sql", "DROP TABLE b", "3_c.up.sql", "CREATE TABLE c ()"))
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	engine := engineOf(t, m)
	require.ErrorContains(t, engine.Steps(-1), "no file says how to get to version 2")
	assert.Equal(t, "3 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "c", pgtest.Value(t, address, "SELECT to_regclass('c')"))
}

func TestDownFileRunsInOneTransactionWithItsVersion(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "1_a.down.sql", "DROP TABLE a", "2_b.up.sql", "CREATE TABLE b ()", "2_b.down.sql", "DROP TABLE b; DROP TABLE nope")
	m := migrator(t, address, folder)
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	engine := engineOf(t, m)
	require.ErrorContains(t, engine.Steps(-1), `table "nope" does not exist`)
	assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery), "golang-migrate's driver says 1, dirty")
	folder["m/2_b.down.sql"].Data = []byte("DROP TABLE b")
	require.NoError(t, engine.Down())
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('a')"))
}

// engineOf is golang-migrate over our two drivers, for what Migrator does not offer.
func engineOf(t testing.TB, m *Migrator) *migrate.Migrate {
	t.Helper()
	d, err := open(context.Background(), m.options)
	require.NoError(t, err)
	engine, err := migrate.NewWithInstance("folder", m.source, "postgres", d)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = engine.Close() })
	return engine
}

func TestFileWithItsOwnBeginAndCommit(t *testing.T) { // H
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "BEGIN;\nCREATE TABLE t (a int);\nSELECT 1/0;\nCOMMIT;")
	_, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorContains(t, err, "m/1_a.up.sql:3: division by zero")
	assertNoAdvisoryLock(t, address)
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))

	folder["m/1_a.up.sql"].Data = []byte("BEGIN;\nCREATE TABLE t (a int);\nCOMMIT;")
	outcome, err := migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 1, outcome.Applied[0].Statements)
}

func assertNoAdvisoryLock(t testing.TB, address string) {
	t.Helper()
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"))
}

func TestStatementTimeoutEndsTheStatementNotTheSession(t *testing.T) { // I
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int);\nSELECT pg_sleep(30);")
	impatient := func(o *Options) { o.StatementTimeout = 100 * time.Millisecond }
	start := time.Now()
	_, err := migrator(t, address, folder, impatient).Up(context.Background())
	require.ErrorContains(t, err, "m/1_a.up.sql:2: canceling statement due to statement timeout (57014)")
	assert.Less(t, time.Since(start), 20*time.Second)
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
	assertNoAdvisoryLock(t, address)
}

func TestSettingsDoNotLeakIntoTheNextFile(t *testing.T) { // J
	address := pgtest.Database(t)
	role := "leak_" + databaseName(address)
	pgtest.Exec(t, address, "CREATE ROLE "+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	const settings = "SELECT current_user, current_setting('lock_timeout') lt, current_setting('search_path') sp, current_setting('work_mem') wm"
	folder := pgtest.Files(
		"1_a.up.sql", "CREATE TABLE first AS "+settings,
		"2_b.up.sql", "SET lock_timeout = '7s'; SET work_mem = '77MB'; SELECT set_config('search_path', '', false); SET ROLE "+role,
		"3_c.up.sql", "CREATE TABLE third AS "+settings)
	_, err := migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, pgtest.Value(t, address, "SELECT f::text FROM first f"), pgtest.Value(t, address, "SELECT t::text FROM third t"))
	assert.Contains(t, pgtest.Value(t, address, "SELECT t::text FROM third t"), "100ms")
}

func TestDeferredConstraintFailsTheCommit(t *testing.T) {
	address := pgtest.Database(t)
	_, err := migrator(t, address, pgtest.Files("1_a.up.sql", `CREATE TABLE p (id int PRIMARY KEY);
		CREATE TABLE c (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
		INSERT INTO c VALUES (4242);`)).Up(context.Background())
	require.ErrorContains(t, err, `m/1_a.up.sql: insert or update on table "c" violates foreign key constraint`)
	assert.NotContains(t, err.Error(), "4242", "rows are not shown")
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
}

func TestConnectionKilledInTheMiddle(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "2_b.up.sql", "CREATE TABLE b (); SELECT pg_sleep(60)")
	failed := make(chan error, 1)
	go func() {
		_, err := migrator(t, address, folder).Up(context.Background())
		failed <- err
	}()
	const sleeping = "datname = current_database() AND wait_event = 'PgSleep'"
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE "+sleeping+")")
	pgtest.Exec(t, address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+sleeping)
	err := <-failed
	require.ErrorContains(t, err, "m/2_b.up.sql")
	require.ErrorContains(t, err, "57P01")
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	pgtest.Eventually(t, address, "NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")

	folder["m/2_b.up.sql"].Data = []byte("CREATE TABLE b ()")
	_, err = migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
}

func TestClientThatDisappearsLeavesNoStatementAtWork(t *testing.T) {
	address := pgtest.Database(t)
	d := testDriver(t, address)
	if !d.checks {
		t.Fatal("this server cannot notice: test with PostgreSQL 14 or later")
	}
	require.NoError(t, d.Lock())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(newReader("CREATE TABLE t (); SELECT pg_sleep(60)")) }()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')")
	require.NoError(t, d.conn.PgConn().Conn().Close()) // no goodbye, as when the process is killed
	require.ErrorContains(t, <-ended, "the connection was lost; nothing of the file is applied")
	assert.Equal(t, "false", pgtest.Value(t, address, pgtest.Sleeping), "the driver has waited for the end of the lost session")
	require.NoError(t, d.Close())
	pgtest.Eventually(t, address, "NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
}

func TestSampleApplicationMigratesToTheNextRelease(t *testing.T) {
	address := pgtest.Database(t)
	running := os.DirFS("../testdata/metaextract")
	now, err := New(Options{URL: address, FS: running, Folder: folder.Options{Dir: "migrations", Format: folder.Drizzle}})
	require.NoError(t, err)
	outcome, err := now.Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, history.NoVersion, outcome.From)
	require.Len(t, outcome.Applied, 1)
	assert.Equal(t, 2, outcome.Applied[0].Statements)
	pgtest.Exec(t, address, `INSERT INTO extractions (file_name, sha256, size_bytes, mime_type, metadata) VALUES ('a.jpg', 'x', 1, 'image/jpeg', '{}')`)

	next, err := New(Options{URL: address, FS: overlay(t, "../testdata/metaextract", "../testdata/next"), Folder: folder.Options{Dir: "migrations"}})
	require.NoError(t, err)
	pending, err := next.Pending(context.Background())
	require.NoError(t, err)
	require.Len(t, pending, 1)
	assert.Equal(t, "migrations/0001_kind.sql", pending[0].File)
	again, err := next.Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, outcome.To, again.From)
	assert.Equal(t, pending[0].Version, again.To)
	assert.Equal(t, []evidence.Lock{{Relation: "public.extractions", Mode: "AccessExclusiveLock"}}, again.Applied[0].Locks)
	assert.Equal(t, "image", pgtest.Value(t, address, "SELECT kind FROM extractions"))

	_, err = now.Pending(context.Background())
	require.ErrorIs(t, err, ErrNewer, "the running release knows that it has been overtaken")
}

// overlay is a release as the tests of the whole pipeline make it: one directory laid over another.
func overlay(t *testing.T, directories ...string) fstest.MapFS {
	t.Helper()
	all := fstest.MapFS{}
	for _, dir := range directories {
		root := os.DirFS(dir)
		require.NoError(t, walk(root, func(name string, body []byte) { all[name] = &fstest.MapFile{Data: body} }))
	}
	return all
}

func TestBreakpointsEndStatementsAsTheyDoForDrizzle(t *testing.T) {
	address := pgtest.Database(t)
	outcome, err := migrator(t, address, pgtest.Files("meta/_journal.json", pgtest.Journal("0 100 0000_a"),
		"0000_a.sql", "CREATE TABLE a ()\n--> statement-breakpoint\nCREATE TABLE b ()")).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 2, outcome.Applied[0].Statements)
	assert.EqualValues(t, 100, outcome.To)
}

func TestFileLargerThanTheEnginesBuffer(t *testing.T) {
	address := pgtest.Database(t)
	value500 := strings.Repeat("x", 500)
	body := "CREATE TABLE t (v text);\n" + strings.Repeat("INSERT INTO t VALUES ('"+value500+"');\n", 2000) // 1 MB; the engine buffers 100 kB
	outcome, err := migrator(t, address, pgtest.Files("1_a.up.sql", body)).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 2001, outcome.Applied[0].Statements)
	assert.Equal(t, "2000", pgtest.Value(t, address, "SELECT count(*) FROM t"))
}

func TestNothingIsLeftRunningAfterAFailure(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("01_a.up.sql", "SELECT nope")
	for i := 2; i < 40; i++ {
		folder[fmt.Sprintf("m/%02d_b.up.sql", i)] = &fstest.MapFile{Data: []byte("SELECT 1")}
	}
	m := migrator(t, address, folder)
	before := runtime.NumGoroutine()
	for range 5 {
		_, err := m.Up(context.Background())
		require.Error(t, err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "%d goroutines instead of %d", runtime.NumGoroutine(), before)
	}
}

func TestEvidenceIsOfTheFileThatRan(t *testing.T) {
	address := pgtest.Database(t)
	files := pgtest.Files("1_a.up.sql", "SELECT 1")
	m := migrator(t, address, files)
	files["m/1_a.up.sql"].Data = []byte("SELECT 1; SELECT 2")
	outcome, err := m.Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, folder.Hash([]byte("SELECT 1; SELECT 2")), outcome.Applied[0].SHA256)
	assert.Equal(t, 2, outcome.Applied[0].Statements)
}

func TestRunThatIsCanceledBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := migrator(t, pgtest.Database(t), pgtest.Files("1_a.up.sql", "SELECT 1")).Up(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestVersionTableThatIsBusyIsNotWaitedForLongerThanAnyLock(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1"))
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	holder := pgtest.Session(t, address)
	_, err = holder.Exec(context.Background(), "BEGIN; LOCK TABLE schema_migrations", pgtest.Simply)
	require.NoError(t, err)
	_, err = m.Up(context.Background())
	require.ErrorContains(t, err, "read schema_migrations: ERROR: canceling statement due to lock timeout")
}

func databaseName(address string) string {
	name, _, _ := strings.Cut(address[strings.LastIndex(address, "/")+1:], "?")
	return name
}

// migrator is one for a test, quick to lose patience.
func migrator(t testing.TB, address string, files fstest.MapFS, change ...func(*Options)) *Migrator {
	t.Helper()
	o := Options{URL: address, FS: files, Folder: folder.Options{Dir: "m"}, LockTimeout: 100 * time.Millisecond, RetryBudget: 30 * time.Second, LockWait: 30 * time.Second}
	for _, c := range change {
		c(&o)
	}
	m, err := New(o)
	require.NoError(t, err)
	return m
}
