package backup

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// restoring puts a backup back over its own database.
func restoring(t testing.TB, address string, b Backup) RestoreOptions {
	return RestoreOptions{
		File: b.File, Dumper: tools{TB: t}, URL: address, Confirmed: true, Temp: t.TempDir(),
		Now: func() time.Time { return noon },
	}
}

// dropped drops the databases of a server that a test has left under names of its own.
func dropped(t testing.TB, names ...string) {
	t.Cleanup(func() {
		for _, name := range names {
			pgtest.Exec(t, pgtest.Server(t), "DROP DATABASE IF EXISTS "+pg.Name(name)+" WITH (FORCE)")
		}
	})
}

func databases(t testing.TB, like string) string {
	return pgtest.Value(t, pgtest.Server(t), "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE '"+like+"%'")
}

func TestRestoreSaysWhatWouldBeLostBeforeItDoesAnything(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE grown AS SELECT g AS id FROM generate_series(1, 10) g; CREATE TABLE changed AS TABLE grown;
		CREATE TABLE gone AS TABLE grown; CREATE TABLE same AS TABLE grown`)
	b := made(t, address, nil)
	pgtest.Exec(t, address, `INSERT INTO grown VALUES (11); UPDATE changed SET id = 0 WHERE id = 5; DROP TABLE gone; CREATE TABLE fresh AS TABLE same`)
	o := restoring(t, address, b)
	o.Confirmed = false
	r, err := Restore(context.Background(), o)
	require.ErrorIs(t, err, ErrUnconfirmed)
	assert.False(t, r.Done)
	require.NotNil(t, r.Loss)
	assert.Equal(t, []TableLoss{{"public.changed", 10, 10}, {"public.fresh", 10, -1}, {"public.grown", 11, 10}, {"public.gone", -1, 10}}, r.Loss.Tables)
	assert.Positive(t, *r.Loss.WALBytes)
	for _, says := range []string{
		"bytes of log since", "table public.grown has 11 rows, and 10 in the backup", "table public.fresh with 10 rows is not in the backup",
		"table public.changed has 10 rows as in the backup, but not the same", "table public.gone is not there any more, and would come back with 10 rows",
	} {
		assert.ErrorContains(t, err, says)
	}
	assert.Equal(t, name(address), databases(t, name(address)))
	assert.Equal(t, "11", pgtest.Value(t, address, "SELECT count(*) FROM grown"))
	assert.Equal(t, "0", scratchDatabases(t))
}

func TestRestoreTakesThePlaceOfTheDatabase(t *testing.T) {
	address := pgtest.Database(t)
	role := "owner_" + name(address)
	pgtest.Exec(t, pgtest.Server(t), `CREATE ROLE `+role)
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	pgtest.Exec(t, address, peculiar+`; ALTER TABLE extractions OWNER TO `+role+`; GRANT SELECT ON extractions TO PUBLIC;
		CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (7, false)`)
	identity, recipient := pair(t)
	b := made(t, address, func(o *Options) { o.Recipients = []string{recipient} })
	pgtest.Exec(t, address, `DROP TABLE extractions CASCADE; UPDATE schema_migrations SET version = 8`)
	pgtest.Exec(t, address, `ALTER DATABASE `+name(address)+` SET search_path = "Odd ""Schema", public; ALTER DATABASE `+name(address)+` OWNER TO `+role)
	replaced := name(address) + "_before_restore_20261125T120000Z"
	dropped(t, replaced, name(address)) // before the role

	o := restoring(t, address, b)
	o.Identity = identity
	r, err := Restore(context.Background(), o)
	require.NoError(t, err)
	assert.True(t, r.Done)
	assert.True(t, r.Backup.Proven)
	assert.Equal(t, replaced, r.Replaced)
	assert.Equal(t, name(address)+" "+replaced, databases(t, name(address)))
	assert.Equal(t, "0", scratchDatabases(t))
	assert.Equal(t, "7", pgtest.Value(t, address, "SELECT version FROM public.schema_migrations"))
	assert.Equal(t, "2000", pgtest.Value(t, address, "SELECT count(*) FROM public.extractions"))
	assert.Equal(t, role, pgtest.Value(t, address, "SELECT tableowner FROM pg_tables WHERE tablename = 'extractions'"))
	assert.Equal(t, "true", pgtest.Value(t, address, "has_table_privilege('"+role+"', 'public.schema_migrations', 'SELECT') IS NOT NULL AND EXISTS (SELECT FROM pg_stats WHERE tablename = 'extractions')"), "statistics are there")
	assert.Equal(t, `"Odd ""Schema", public`, pgtest.Value(t, address, "current_setting('search_path')"), "the database's properties are those it had last")
	assert.Equal(t, role, pgtest.Value(t, address, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"))
	old, err := pg.OnDatabase(address, replaced)
	require.NoError(t, err)
	assert.Equal(t, "8", pgtest.Value(t, old, "SELECT version FROM public.schema_migrations"), "nothing is lost")
}

func TestRestoreIntoANewDatabase(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	pgtest.Exec(t, address, "ALTER DATABASE "+name(address)+" SET work_mem = '5MB'")
	b := made(t, address, nil)
	o := restoring(t, address, b)
	o.Into, o.Confirmed = `Into "it" `+name(address), false
	dropped(t, o.Into)
	r, err := Restore(context.Background(), o)
	require.NoError(t, err, "nothing is replaced, so there is nothing to confirm")
	assert.Equal(t, Restored{Database: o.Into, Backup: r.Backup, Done: true}, r)
	conn := connect(t, address, o.Into)
	var count, memory string
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT (SELECT count(*)::text FROM t), current_setting('work_mem')").Scan(&count, &memory))
	assert.Equal(t, "1 5MB", count+" "+memory)
	_, err = Restore(context.Background(), o)
	assert.ErrorContains(t, err, "there is a database")
	assert.Equal(t, "0", scratchDatabases(t))
}

// connect opens a session with another database of a server.
func connect(t testing.TB, address, database string) *pgx.Conn {
	config, err := pgx.ParseConfig(address)
	require.NoError(t, err)
	config.Database = database
	conn, err := pgx.ConnectConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestRestoreOfADatabaseThatIsNotThereAnyMore(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	b := made(t, address, nil)
	pgtest.Exec(t, pgtest.Server(t), "DROP DATABASE "+name(address))
	o := restoring(t, address, b)
	o.Confirmed = false
	r, err := Restore(context.Background(), o)
	require.NoError(t, err)
	assert.Nil(t, r.Loss)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM t"))
}

func TestRestoreIsRefusedWhileOthersAreConnected(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	b := made(t, address, nil)
	dropped(t, name(address)+"_before_restore_20261125T120000Z")
	app := pgtest.Session(t, pgtest.Named(address, "shop"))
	o := restoring(t, address, b)
	_, err := Restore(context.Background(), o)
	require.ErrorIs(t, err, ErrConnected)
	assert.ErrorContains(t, err, "(shop, user postgres, idle)")

	// Somebody comes while it is restored.
	require.NoError(t, app.Close(context.Background()))
	pgtest.Eventually(t, pgtest.Server(t), "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '"+name(address)+"')")
	o.Dumper = tools{TB: t, restored: func(string) { app = pgtest.Session(t, pgtest.Named(address, "late")) }}
	r, err := Restore(context.Background(), o)
	require.ErrorIs(t, err, ErrConnected)
	assert.ErrorContains(t, err, "(late, user postgres, idle)")
	assert.False(t, r.Done)
	assert.Equal(t, name(address), databases(t, name(address)))
	assert.Equal(t, "0", scratchDatabases(t))

	// Told to, it has them terminated, those that come back at once among them.
	returning, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan int)
	go func() {
		n := 0
		for returning.Err() == nil {
			if conn, err := pgx.Connect(returning, address); err == nil {
				n++
				_, _ = conn.Exec(returning, "SELECT pg_sleep(600)")
				_ = conn.Close(context.Background())
			}
		}
		ended <- n
	}()
	o.Dumper, o.Terminate = tools{TB: t}, true
	r, err = Restore(context.Background(), o)
	stop()
	assert.Positive(t, <-ended)
	require.NoError(t, err)
	assert.True(t, r.Done)
	assert.Error(t, app.Ping(context.Background()))
}

func TestRestoreAndMigrationsKeepEachOtherOut(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	b := made(t, address, nil)
	dropped(t, name(address)+"_before_restore_20261125T120000Z")
	migrator := pgtest.Session(t, address)
	key, err := migrationKey(context.Background(), migrator)
	require.NoError(t, err)
	lock := func() (taken bool) {
		require.NoError(t, migrator.QueryRow(context.Background(), "SELECT pg_try_advisory_lock($1)", key).Scan(&taken))
		return taken
	}
	require.True(t, lock())
	o := restoring(t, address, b)
	o.Terminate = true
	_, err = Restore(context.Background(), o)
	require.ErrorIs(t, err, ErrMigrating)
	_, err = migrator.Exec(context.Background(), "SELECT pg_advisory_unlock($1)", key)
	require.NoError(t, err)

	o.Dumper = tools{TB: t, restored: func(string) { assert.False(t, lock(), "the restore has it") }}
	_, err = Restore(context.Background(), o)
	require.NoError(t, err)
}

func TestRestoreThatIsNotProvenChangesNothing(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT 1 AS a")
	b := made(t, address, nil)
	o := restoring(t, address, b)
	o.Dumper = tools{TB: t, restored: func(url string) { pgtest.Exec(t, url, "DELETE FROM t") }}
	r, err := Restore(context.Background(), o)
	require.ErrorIs(t, err, ErrNotProven)
	assert.False(t, r.Done)
	assert.Equal(t, name(address), databases(t, name(address)))
	assert.Equal(t, "0", scratchDatabases(t))
	m, err := readManifest(b.File)
	require.NoError(t, err)
	assert.True(t, m.Proven, "what a restore finds is not written into the manifest")
}

func TestNameThatIsSetAsideFits(t *testing.T) {
	for _, name := range []string{"app", strings.Repeat("ä", 31), strings.Repeat("x", 63), "x" + strings.Repeat("€", 20)} {
		aside := setAside(name, noon)
		assert.LessOrEqual(t, len(aside), nameLimit)
		assert.True(t, strings.HasSuffix(aside, "_before_restore_20261125T120000Z"))
		assert.Equal(t, aside, strings.ToValidUTF8(aside, "?"))
	}
}
