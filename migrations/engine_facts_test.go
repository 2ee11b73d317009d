package migrations

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	stock "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// What golang-migrate's own driver does, and ours is there not to do. When one of these tests fails with a new version of
// golang-migrate, what we do instead may not be needed any more. Ours is tested beside: driver_test.go, lock_test.go, outside_test.go.

// stockWith is golang-migrate with a configuration.
func stockWith(t testing.TB, address string, files fstest.MapFS, config *stock.Config) (*migrate.Migrate, error) {
	t.Helper()
	src, err := iofs.New(files, "m")
	require.NoError(t, err)
	db, err := sql.Open("pgx/v5", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	driver, err := stock.WithInstance(db, config)
	if err != nil {
		return nil, err
	}
	m, err := migrate.NewWithInstance("iofs", src, "postgres", driver)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = m.Close() })
	return m, nil
}

func assertCode(t testing.TB, err error, code string) {
	t.Helper()
	require.Error(t, err)
	var server *pgconn.PgError
	require.ErrorAs(t, err, &server, "%v", err)
	assert.Equal(t, code, server.Code)
}

// assertStockFails runs golang-migrate and looks for the code in its text: it does not wrap what PostgreSQL says.
func assertStockFails(t testing.TB, err error, text string) {
	t.Helper()
	require.Error(t, err)
	assert.Contains(t, err.Error(), text)
}

func TestEngineIsDirtyAfterAFailureThatLeftNothing(t *testing.T) { // A; ours: TestFailureLeavesVersionAndTablesAsTheyWere
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int); CREATE TABLE u (a int); SELECT 1/0;"))
	assertStockFails(t, m.Up(), "division by zero")
	assert.Equal(t, "1 true", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('t')"), "PostgreSQL has rolled the file back")
	require.ErrorAs(t, m.Up(), &migrate.ErrDirty{})
}

func TestEngineRunsNoTwoConcurrentIndexesOfAFile(t *testing.T) { // B; ours: TestConcurrentIndexesRunWhereverTheyStandInAFile
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int)", "2_b.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a)",
		"3_c.up.sql", "-- c\nCREATE INDEX CONCURRENTLY j ON t (a); CREATE INDEX CONCURRENTLY k ON t (a)"))
	assertStockFails(t, m.Up(), "cannot run inside a transaction block")
	assert.Equal(t, "3 true", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "i", pgtest.Value(t, address, "SELECT to_regclass('i')"), "one alone in a file runs")
}

func TestEngineSplitsFunctionsAtTheirSemicolons(t *testing.T) { // B3; ours: TestFunctionBodiesWithSemicolonsRun
	address := pgtest.Database(t)
	m, err := stockWith(t, address, pgtest.Files("1_a.up.sql", "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$;"),
		&stock.Config{DatabaseName: databaseName(address), MultiStatementEnabled: true})
	require.NoError(t, err)
	assertStockFails(t, m.Up(), "unterminated dollar-quoted string")
}

const waitsForAdvisoryLock = "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"

func TestEngineWaitsForAnotherMigratorWithoutEnd(t *testing.T) { // C; ours: TestLockSaysWhoHoldsIt
	address := pgtest.Database(t)
	release := lockedBy(t, address, "night-shift")
	files := pgtest.Files("1_a.up.sql", "SELECT 1")
	_, err := stockWith(t, address+"&options=-c%20lock_timeout%3D100ms", files, &stock.Config{DatabaseName: databaseName(address)})
	assertStockFails(t, err, "55P03")
	opened := make(chan error, 1)
	go func() {
		_, err := stockWith(t, address, files, &stock.Config{DatabaseName: databaseName(address)})
		opened <- err
	}()
	pgtest.Eventually(t, address, waitsForAdvisoryLock)
	select {
	case err := <-opened:
		t.Fatalf("it does not wait any more: %v", err)
	default:
	}
	release()
	require.NoError(t, <-opened)
}

func TestEngineKeepsALockThatItGaveUpWaitingFor(t *testing.T) { // D; ours: TestLockWaitEndsWithTheContextAndLeavesNothingWaiting
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "SELECT 1"))
	m.LockTimeout = 100 * time.Millisecond
	release := lockedBy(t, address, "night-shift")
	require.ErrorIs(t, m.Up(), migrate.ErrLockTimeout)
	pgtest.Eventually(t, address, waitsForAdvisoryLock)
	release()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
	require.ErrorIs(t, m.Up(), database.ErrLocked, "what nobody waits for any more has got it")
}

func TestEngineDeadlocksWhileAnotherOneWaits(t *testing.T) { // E; ours: TestTwentyMigratorsAtOnceApplyEachMigrationOnce
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "ALTER DATABASE "+databaseName(address)+" SET deadlock_timeout = '50ms'")
	gate := pgtest.Session(t, address)
	_, err := gate.Exec(context.Background(), "BEGIN; SELECT pg_advisory_xact_lock(7)", pgtest.Simply)
	require.NoError(t, err)
	files := pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int)", "2_w.up.sql", "SELECT pg_advisory_xact_lock(7)", "3_i.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a)")
	first := stockMigrate(t, address, files)
	second := stockMigrate(t, address+"&options=-c%20deadlock_timeout%3D1h", files) // so that the first is the victim, whose timer runs later
	firstEnded, secondEnded := make(chan error, 1), make(chan error, 1)
	go func() { firstEnded <- first.Up() }()
	pgtest.Eventually(t, address, waitsForAdvisoryLock)
	go func() { secondEnded <- second.Up() }()
	pgtest.Eventually(t, address, "(SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))")
	_, err = gate.Exec(context.Background(), "COMMIT")
	require.NoError(t, err)
	assertStockFails(t, <-firstEnded, "deadlock detected")
	require.ErrorAs(t, <-secondEnded, &migrate.ErrDirty{})
	assert.Equal(t, "1", pgtest.Value(t, address, invalidQuery))
	assert.Equal(t, "3 true", pgtest.Value(t, address, stateQuery))
}

func TestEngineSkipsWhatIsOutOfOrder(t *testing.T) { // F; ours: TestStateOfEveryMigration
	address := pgtest.Database(t)
	files := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "3_c.up.sql", "CREATE TABLE c ()")
	require.NoError(t, stockMigrate(t, address, files).Up())
	files["m/2_b.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE b ()")}
	files["m/4_d.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE d ()")}
	require.NoError(t, stockMigrate(t, address, files).Up())
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('b')"))
	err := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()")).Up()
	require.ErrorIs(t, err, fs.ErrNotExist, "an older release")
	assert.ErrorContains(t, err, "no migration found for version 4")
}

func TestEngineLowersTheVersionWithoutAWayBack(t *testing.T) { // G; ours: TestVersionIsNotLoweredWithoutAFile
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "2_b.up.sql", "CREATE TABLE b ()"))
	require.NoError(t, m.Up())
	require.NoError(t, m.Steps(-1))
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "b", pgtest.Value(t, address, "SELECT to_regclass('b')"), "it is still there")
}

func TestEngineKeepsTheLockAfterAFileWithATransactionOfItsOwn(t *testing.T) { // H; ours: TestFileWithItsOwnBeginAndCommit
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "BEGIN; CREATE TABLE t (a int); SELECT 1/0; COMMIT;"))
	err := m.Up()
	assertStockFails(t, err, "division by zero")
	assertStockFails(t, err, "current transaction is aborted")
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"))
}

func TestEngineLosesItsConnectionToATimeout(t *testing.T) { // I; ours: TestStatementTimeoutEndsTheStatementNotTheSession
	address := pgtest.Database(t)
	m, err := stockWith(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int); SELECT pg_sleep(60);"),
		&stock.Config{DatabaseName: databaseName(address), StatementTimeout: 200 * time.Millisecond})
	require.NoError(t, err)
	require.Error(t, m.Up())
	_, _, err = m.Version()
	assertStockFails(t, err, "connection is already closed")
	assert.Equal(t, "1 true", pgtest.Value(t, address, stateQuery))
}

func TestEngineLetsSettingsLeakIntoTheNextFile(t *testing.T) { // J; ours: TestSettingsDoNotLeakIntoTheNextFile
	address := pgtest.Database(t)
	require.NoError(t, stockMigrate(t, address, pgtest.Files(
		"1_a.up.sql", "SET lock_timeout = '7s'; SET LOCAL statement_timeout = '9s'; CREATE TABLE first AS SELECT current_setting('statement_timeout') st",
		"2_b.up.sql", "CREATE TABLE second AS SELECT current_setting('lock_timeout') lt, current_setting('statement_timeout') st")).Up())
	assert.Equal(t, "9s", pgtest.Value(t, address, "SELECT st FROM first"), "SET LOCAL works, for several statements at once are a transaction")
	assert.Equal(t, "7s 0", pgtest.Value(t, address, "SELECT lt || ' ' || st FROM second"))
}

func TestEngineSaysTheTargetWhenAWayBackFailed(t *testing.T) { // ours: TestWayBackThatFailsLeavesEverythingAsItWas
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "2_b.up.sql", "CREATE TABLE b ()", "2_b.down.sql", "DROP TABLE nope"))
	require.NoError(t, m.Up())
	require.Error(t, m.Steps(-1))
	assert.Equal(t, "1 true", pgtest.Value(t, address, stateQuery), "2 is applied")
	assert.Equal(t, "b", pgtest.Value(t, address, "SELECT to_regclass('b')"))
}

func TestEngineKeepsOneRowAndTruncatesItsTable(t *testing.T) { // ours: package history
	address := pgtest.Database(t)
	m := stockMigrate(t, address, pgtest.Files("1_a.up.sql", "SELECT 1", "2_b.up.sql", "SELECT 2"))
	require.NoError(t, m.Steps(1))
	file := pgtest.Value(t, address, "SELECT pg_relation_filenode('"+history.StockVersion+"')")
	require.NoError(t, m.Up())
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM schema_migrations"))
	assert.NotEqual(t, file, pgtest.Value(t, address, "SELECT pg_relation_filenode('"+history.StockVersion+"')"), "an AccessExclusive lock, and a new file")
}
