package migrations

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

const invalidQuery = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"

func TestConcurrentIndexesRunWhereverTheyStandInAFile(t *testing.T) { // B
	address := pgtest.Database(t)
	outcome, err := migrator(t, address, pgtest.Files(
		"1_a.up.sql", "CREATE TABLE t (a int)",
		"2_b.up.sql", "-- why\nCREATE INDEX CONCURRENTLY i ON t (a);\nCREATE UNIQUE INDEX CONCURRENTLY j ON t (a);\nVACUUM t;")).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 3, outcome.Applied[1].Statements)
	assert.Equal(t, "2", pgtest.Value(t, address, "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname = 't' AND indisvalid"))
	assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
}

func TestFailedConcurrentIndexLeavesNothing(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files(
		"1_a.up.sql", "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1)",
		"2_b.up.sql", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)")
	_, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorContains(t, err, "m/2_b.up.sql:1: could not create unique index")
	assert.Equal(t, "0", pgtest.Value(t, address, invalidQuery), "left invalid, it would cost writes, and IF NOT EXISTS would take it for done")
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery), "nothing was done, so nothing is dirty")

	pgtest.Exec(t, address, "DELETE FROM t WHERE ctid = '(0,1)'")
	_, err = migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, "0", pgtest.Value(t, address, invalidQuery))
}

func TestInvalidIndexesOfOthersAreLeftAlone(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE old (a int); INSERT INTO old VALUES (1), (1)")
	conn := pgtest.Session(t, address)
	_, err := conn.Exec(context.Background(), "CREATE UNIQUE INDEX CONCURRENTLY theirs ON old (a)")
	require.Error(t, err)
	_, err = migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE UNIQUE INDEX CONCURRENTLY ours ON old (a)")).Up(context.Background())
	require.Error(t, err)
	assert.Equal(t, "theirs", pgtest.Value(t, address, "SELECT string_agg(indexrelid::regclass::text, ',') FROM pg_index WHERE NOT indisvalid"))
}

func TestFileThatStopsHalfDoneGoesOnWhereItStopped(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files(
		"1_a.up.sql", "CREATE TABLE t (a int)",
		"2_b.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a);\nCREATE INDEX CONCURRENTLY j ON t (b);")
	_, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorIs(t, err, ErrDirty)
	assert.Equal(t, `m/2_b.up.sql:2: column "b" does not exist (42703)
    2 | CREATE INDEX CONCURRENTLY j ON t (b);
  1 of its 2 statements are done and stay done, for the file cannot run in a transaction: a migration is half applied.
  Correct the file from there on and run again: it goes on with the next statement`, err.Error())
	assert.Equal(t, "2 true", pgtest.Value(t, address, stateQuery))
	status, err := migrator(t, address, folder).Status(context.Background())
	require.NoError(t, err)
	assert.Equal(t, StateInterrupted, status.Items[1].State)
	assert.Equal(t, "a run stopped after 1 of 2 statements of its way up; the next run goes on", status.Items[1].Message)

	folder["m/2_b.up.sql"].Data = []byte("CREATE INDEX CONCURRENTLY i2 ON t (a);\nCREATE INDEX CONCURRENTLY j ON t (a);")
	_, err = migrator(t, address, folder).Up(context.Background())
	require.ErrorIs(t, err, ErrDirty)
	require.ErrorContains(t, err, "m/2_b.up.sql: an earlier run has done its first 1 statements, and they are not the same any more")

	folder["m/2_b.up.sql"].Data = []byte("CREATE INDEX CONCURRENTLY i ON t (a);\nCREATE INDEX CONCURRENTLY j ON t ((a + 1));")
	outcome, err := migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 1, outcome.Applied[0].Resumed)
	assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "i,j", pgtest.Value(t, address, "SELECT string_agg(indexrelid::regclass::text, ',' ORDER BY indexrelid) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid"))
	entries, err := migrator(t, address, folder).History(context.Background())
	require.NoError(t, err)
	require.Len(t, entries, 2, "one line for a migration, however many runs it took")
	assert.Equal(t, history.Applied, entries[1].Status)
	assert.Equal(t, migrator(t, address, folder).Migrations()[1].SHA256, entries[1].SHA256)
	assert.Empty(t, entries[1].Error)
}

func TestDirtyVersionOfAnotherToolIsNotGoneOnWith(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE t (a int)", "2_b.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a)")
	_, err := migrator(t, address, folder).UpTo(context.Background(), 1)
	require.NoError(t, err)
	pgtest.Exec(t, address, "UPDATE schema_migrations SET version = 2, dirty = true")
	_, err = migrator(t, address, folder).Up(context.Background())
	require.ErrorIs(t, err, ErrDirty)
	require.ErrorContains(t, err, "finish or undo it by hand, then tell: UPDATE schema_migrations SET dirty = false")
}

func TestConcurrentIndexWaitsForTransactionsLongerThanOthersWouldForLocks(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int)")
	writer := pgtest.Session(t, address)
	_, err := writer.Exec(context.Background(), "BEGIN; INSERT INTO t VALUES (1)", pgtest.Simply)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a)")).Up(context.Background())
		ended <- err
	}()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '500 ms')")
	_, err = writer.Exec(context.Background(), "COMMIT")
	require.NoError(t, err)
	require.NoError(t, <-ended)
}

func TestCommentAsksForNoTransaction(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TYPE mood AS ENUM ('sad')", "2_b.up.sql", "ALTER TYPE mood ADD VALUE 'ok';\nCREATE TABLE t AS SELECT 'ok'::mood AS m;")
	_, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorContains(t, err, `unsafe use of new value "ok"`)
	folder["m/2_b.up.sql"] = &fstest.MapFile{Data: []byte("-- deploy: no-transaction\nALTER TYPE mood ADD VALUE 'ok';\nCREATE TABLE t AS SELECT 'ok'::mood AS m;")}
	_, err = migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
}

func TestStatementThatNeedsNoTransactionUndetectedSaysHow(t *testing.T) {
	address := pgtest.Database(t)
	_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE INDEX i ON p (a);", "2_b.up.sql", "REINDEX INDEX i")).Up(context.Background())
	require.ErrorContains(t, err, "m/2_b.up.sql:1: REINDEX INDEX cannot run inside a transaction block (25001)")
	require.ErrorContains(t, err, "-- deploy: no-transaction")
}

func TestKilledOutsideATransactionIsDirty(t *testing.T) {
	address := pgtest.Database(t)
	ended := make(chan error, 1)
	go func() {
		_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "-- deploy: no-transaction\nCREATE TABLE t ();\nSELECT pg_sleep(60)")).Up(context.Background())
		ended <- err
	}()
	pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')")
	pgtest.Exec(t, address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
	select {
	case err := <-ended:
		require.ErrorIs(t, err, ErrDirty)
	case <-time.After(time.Minute):
		t.Fatal("the run did not end with its connection")
	}
	assert.Equal(t, "1 true", pgtest.Value(t, address, stateQuery))
}
