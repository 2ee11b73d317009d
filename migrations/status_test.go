package migrations

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// states are the versions and states of a status, in order.
func states(t testing.TB, address string, folder fstest.MapFS) map[int64]State {
	t.Helper()
	status, err := migrator(t, address, folder).Status(context.Background())
	require.NoError(t, err)
	all := map[int64]State{}
	for _, item := range status.Items {
		all[item.Version] = item.State
	}
	return all
}

func TestStateOfEveryMigration(t *testing.T) {
	applied := []string{"1_a.up.sql", "CREATE TABLE a ()", "3_c.up.sql", "CREATE TABLE c ()", "5_e.up.sql", "CREATE TABLE e ()"}
	tests := []struct {
		name   string
		folder fstest.MapFS
		want   map[int64]State
		is     error
		says   string
	}{
		{"all applied", pgtest.Files(applied...), map[int64]State{1: StateApplied, 3: StateApplied, 5: StateApplied}, nil, ""},
		{"one pending on top", pgtest.Files(append(applied, "6_f.up.sql", "SELECT 1")...), map[int64]State{1: StateApplied, 3: StateApplied, 5: StateApplied, 6: StatePending}, nil, ""},
		{"edited after it was applied", pgtest.Files("1_a.up.sql", "CREATE TABLE a (x int)", "3_c.up.sql", "CREATE TABLE c ()", "5_e.up.sql", "CREATE TABLE e ()"),
			map[int64]State{1: StateEdited, 3: StateApplied, 5: StateApplied}, ErrEdited, "m/1_a.up.sql (version 1): an applied migration was edited: applied on"},
		{"out of order", pgtest.Files(append(applied, "4_d.up.sql", "SELECT 1")...), map[int64]State{1: StateApplied, 3: StateApplied, 4: StateOutOfOrder, 5: StateApplied},
			ErrOutOfOrder, "m/4_d.up.sql (version 4): a migration is out of order: it was not applied, and version 5 was: it would never run; generate it anew on top"},
		{"missing in between", pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "5_e.up.sql", "CREATE TABLE e ()"), map[int64]State{1: StateApplied, 3: StateMissing, 5: StateApplied},
			ErrMissing, "3_c (version 3): an applied migration is missing: m does not have it between its others: restore the file"},
		{"of a newer release", pgtest.Files("1_a.up.sql", "CREATE TABLE a ()"), map[int64]State{1: StateApplied, 3: StateNewer, 5: StateNewer},
			ErrNewer, "5_e (version 5): the database is ahead of the migrations: m ends at 1 (1_a)"},
		{"renamed only", pgtest.Files("1_other.up.sql", "CREATE TABLE a ()", "3_c.up.sql", "CREATE TABLE c ()", "5_e.up.sql", "CREATE TABLE e ()"),
			map[int64]State{1: StateApplied, 3: StateApplied, 5: StateApplied}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			_, err := migrator(t, address, pgtest.Files(applied...)).Up(context.Background())
			require.NoError(t, err)
			assert.Equal(t, tt.want, states(t, address, tt.folder))
			before := pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations")
			_, err = migrator(t, address, tt.folder).Up(context.Background())
			if tt.is == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.is)
			require.ErrorContains(t, err, tt.says)
			assert.Equal(t, before, pgtest.Value(t, address, "SELECT count(*) FROM deploy_migrations"), "a run that is refused leaves no trace")
		})
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	address := pgtest.Database(t)
	_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1", "2_b.up.sql", "SELECT 2", "5_e.up.sql", "SELECT 5")).Up(context.Background())
	require.NoError(t, err)
	_, err = migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 10", "4_d.up.sql", "SELECT 4", "5_e.up.sql", "SELECT 5")).Up(context.Background())
	require.ErrorIs(t, err, ErrEdited)
	require.ErrorIs(t, err, ErrMissing)
	require.ErrorIs(t, err, ErrOutOfOrder)
}

func TestWhatTheStockToolDidIsWrittenIntoTheHistory(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "1_a.down.sql", "DROP TABLE a", "2_b.up.sql", "CREATE TABLE b ()", "2_b.down.sql", "DROP TABLE b")
	require.NoError(t, stockMigrate(t, address, folder).Up())
	assert.Equal(t, map[int64]State{1: StateApplied, 2: StateApplied}, states(t, address, folder))

	folder["m/3_c.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE c ()")}
	folder["m/3_c.down.sql"] = &fstest.MapFile{Data: []byte("DROP TABLE c")}
	outcome, err := migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.EqualValues(t, 2, outcome.From)
	entries, err := migrator(t, address, folder).History(context.Background())
	require.NoError(t, err)
	var told []string
	for _, e := range entries {
		told = append(told, e.Name+" "+string(e.Direction)+" "+string(e.Status)+" "+e.Evidence)
	}
	assert.Equal(t, []string{"1_a up adopted schema_migrations was at version 2", "2_b up adopted schema_migrations was at version 2", "3_c up applied "}, told)

	folder["m/2_a.up.sql"] = folder["m/2_b.up.sql"]
	delete(folder, "m/2_b.up.sql")
	delete(folder, "m/2_b.down.sql")
	folder["m/2_a.down.sql"] = &fstest.MapFile{Data: []byte("DROP TABLE b")}
	stock := stockMigrate(t, address, folder)
	require.NoError(t, stock.Steps(-2))
	_, err = migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, "up adopted,up adopted,up applied,down applied,down applied,up applied,up applied",
		pgtest.Value(t, address, "SELECT string_agg(direction || ' ' || status, ',' ORDER BY id) FROM deploy_migrations"))
	assert.Equal(t, "3 false", pgtest.Value(t, address, stateQuery))
}

func TestVersionZeroIsAVersion(t *testing.T) {
	address := pgtest.Database(t)
	folder := pgtest.Files("000_a.up.sql", "CREATE TABLE a ()", "000_a.down.sql", "DROP TABLE a", "001_b.up.sql", "CREATE TABLE b ()", "001_b.down.sql", "DROP TABLE b")
	m := migrator(t, address, folder)
	outcome, err := m.UpTo(context.Background(), 0)
	require.NoError(t, err)
	assert.Equal(t, history.NoVersion, outcome.From)
	assert.Zero(t, outcome.To)
	outcome, err = m.Up(context.Background())
	require.NoError(t, err)
	assert.Zero(t, outcome.From)
	outcome, err = m.Down(context.Background(), 0)
	require.NoError(t, err)
	assert.Zero(t, outcome.To)
	outcome, err = m.Down(context.Background(), history.NoVersion)
	require.NoError(t, err)
	assert.Equal(t, history.NoVersion, outcome.To)
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
}

func TestTableOfAnotherToolIsLeftAloneAndItsPlaceTaken(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE schema_migrations (filename text PRIMARY KEY, applied_at timestamptz); INSERT INTO schema_migrations VALUES ('001_a.sql', now())")
	folder := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()")
	_, err := migrator(t, address, folder).Up(context.Background())
	require.ErrorIs(t, err, ErrForeign)
	require.ErrorContains(t, err, "pipeline migrate adopt")
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('deploy_schema_migrations')"))

	pgtest.Exec(t, address, "CREATE TABLE deploy_schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO deploy_schema_migrations VALUES (1, false)")
	folder["m/2_b.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE b ()")}
	_, err = migrator(t, address, folder).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, "2 false", pgtest.Value(t, address, "SELECT version || ' ' || dirty FROM deploy_schema_migrations"))
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM schema_migrations"))
}
