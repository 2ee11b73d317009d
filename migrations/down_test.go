package migrations

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

var threeTables = []string{
	"1_a.up.sql", "CREATE TABLE a ()", "1_a.down.sql", "DROP TABLE a", "2_b.up.sql", "CREATE TABLE b ()", "2_b.down.sql", "DROP TABLE b",
	"3_c.up.sql", "CREATE TABLE c ()", "3_c.down.sql", "DROP TABLE c",
}

func TestDownTakesBackOneByOne(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files(threeTables...))
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	plan, err := m.DownPlan(context.Background(), 1)
	require.NoError(t, err)
	assert.Equal(t, []Back{{3, "3_c", "m/3_c.down.sql"}, {2, "2_b", "m/2_b.down.sql"}}, plan)
	outcome, err := m.Down(context.Background(), 1)
	require.NoError(t, err)
	assert.EqualValues(t, 3, outcome.From)
	assert.EqualValues(t, 1, outcome.To)
	assert.Equal(t, history.Down, outcome.Applied[0].Direction)
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "a", pgtest.Value(t, address, "SELECT string_agg(relname, ',') FROM pg_class WHERE relname IN ('a', 'b', 'c')"))
	assert.Equal(t, map[int64]State{1: StateApplied, 2: StatePending, 3: StatePending}, states(t, address, pgtest.Files(threeTables...)))
	_, err = m.Up(context.Background())
	require.NoError(t, err)
	status, err := m.Status(context.Background())
	require.NoError(t, err)
	assert.EqualValues(t, 2, status.Steps(1))
	assert.Equal(t, history.NoVersion, status.Steps(9))
}

func TestOlderReleaseTakesBackWhatANewerOneDid(t *testing.T) { // golang-migrate#1091
	address := pgtest.Database(t)
	_, err := migrator(t, address, pgtest.Files(threeTables...)).Up(context.Background())
	require.NoError(t, err)
	older := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "1_a.down.sql", "DROP TABLE a"))
	plan, err := older.DownPlan(context.Background(), 1)
	require.NoError(t, err)
	assert.Equal(t, []Back{{3, "3_c", "history"}, {2, "2_b", "history"}}, plan)
	_, err = older.Down(context.Background(), 1)
	require.NoError(t, err)
	assert.Equal(t, "a", pgtest.Value(t, address, "SELECT string_agg(relname, ',') FROM pg_class WHERE relname IN ('a', 'b', 'c')"))
	_, err = older.Pending(context.Background())
	require.NoError(t, err, "the older release is at home again")
}

func TestDownIsRefusedBeforeAnythingIsDone(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files(append(threeTables, "4_d.up.sql", "-- deploy: irreversible the numbers were rounded\nCREATE TABLE d ()", "4_d.down.sql", "DROP TABLE d",
		"5_e.up.sql", "CREATE TABLE e ()", "6_f.up.sql", "CREATE TABLE f ()", "6_f.down.sql", "DROP TABLE f")...), func(o *Options) { o.BackupID = "backup-1" })
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	_, err = m.Down(context.Background(), 1)
	require.ErrorIs(t, err, ErrIrreversible)
	require.ErrorContains(t, err, "4_d (version 4): the migration cannot be taken back: the numbers were rounded; restore backup backup-1 from before (pipeline migrate restore), which loses what was written since")
	require.ErrorContains(t, err, "5_e (version 5): the migration cannot be taken back: neither the folder nor the history has a way back")
	assert.Equal(t, "6 false", pgtest.Value(t, address, stateQuery))
	_, err = m.Down(context.Background(), 9)
	require.ErrorContains(t, err, "version 9 is not applied, so there is no way back to it; the database is at 6")
	_, err = m.Down(context.Background(), 5)
	require.NoError(t, err)
}

func TestWayBackThatFailsLeavesEverythingAsItWas(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "1_a.down.sql", "DROP TABLE a; DROP TABLE nope"))
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	_, err = m.Down(context.Background(), history.NoVersion)
	require.ErrorContains(t, err, `m/1_a.down.sql:1: table "nope" does not exist`)
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "a", pgtest.Value(t, address, "SELECT to_regclass('a')"))
	assert.Equal(t, map[int64]State{1: StateApplied}, states(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()")))
}

func TestWayBackOutsideATransactionGoesOnWhereItStopped(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a (x int); CREATE INDEX i ON a (x); CREATE INDEX j ON a (x)",
		"1_a.down.sql", "DROP INDEX CONCURRENTLY i;\nDROP INDEX CONCURRENTLY nope;")
	m := migrator(t, address, folder)
	_, err := m.Up(context.Background())
	require.NoError(t, err)
	_, err = m.Down(context.Background(), history.NoVersion)
	require.ErrorIs(t, err, ErrDirty)
	_, err = m.Up(context.Background())
	require.ErrorIs(t, err, ErrDirty)
	require.ErrorContains(t, err, "its way back was interrupted: finish it with pipeline migrate down")
	folder["m/1_a.down.sql"].Data = []byte("DROP INDEX CONCURRENTLY i;\nDROP INDEX CONCURRENTLY j;")
	outcome, err := m.Down(context.Background(), history.NoVersion)
	require.NoError(t, err)
	assert.Equal(t, 1, outcome.Applied[0].Resumed)
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
}
