package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// A server that crashes, and recovers, while it is migrated.

// durable is a server whose answer to COMMIT is a promise. It needs no fsync for that: the machine does not crash with it.
func durable(t testing.TB) *pgtest.Cluster {
	t.Helper()
	return pgtest.Start(t, map[string]string{"synchronous_commit": "on", "full_page_writes": "on"})
}

// victim is the name of a session that makes nap sleep; it is gone after a crash.
const victim = "crash-me"

// napping has what a statement needs to be in the middle of something: nap sleeps where it is called, unless the server has crashed since.
const napping = `CREATE FUNCTION nap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
		IF EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name = '` + victim + `') THEN PERFORM pg_catalog.pg_sleep(60); END IF;
		RETURN $1; END $$;
	CREATE FUNCTION nap_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nap(1); RETURN NULL; END $$;
	CREATE TABLE log (what text); CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t SELECT g, 0 FROM generate_series(1, 50) g;
	CREATE TABLE late (a int); CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nap_later();
	CREATE INDEX napping ON t (nap(a)); CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);`

func TestServerThatCrashesInTheMiddleOfAMigrationOfEveryKind(t *testing.T) {
	t.Parallel()
	cluster := durable(t)
	tests := []struct {
		name, body string
		holds      string // what another session does first, for a statement to wait for it
		atomic     bool   // nothing of it is left
		check, end string // a query, and its answer after the next run
	}{
		{"a file in a transaction", "CREATE TABLE b (); INSERT INTO log VALUES ('2'); SELECT nap(1); INSERT INTO log VALUES ('2')", "", true, "SELECT count(*) FROM log", "2"},
		{"its verification", "INSERT INTO log VALUES ('2');\n-- deploy: verify SELECT nap(1) = 1", "", true, "SELECT count(*) FROM log", "1"},
		{"its commit", "INSERT INTO log VALUES ('2'); INSERT INTO late VALUES (1)", "", true, "SELECT count(*) FROM log", "1"},
		{"a lock that is waited for", "SET LOCAL lock_timeout = '60s'; INSERT INTO log VALUES ('2'); ALTER TABLE t ADD COLUMN c int", "BEGIN; SELECT * FROM t", true, "SELECT count(*) FROM log", "1"},
		{"a rewrite of a table", "ALTER TABLE t ALTER b TYPE bigint USING nap(b)", "", true, "SELECT 1", "1"},
		{"an index that is built concurrently", "CREATE INDEX CONCURRENTLY i ON t (nap(b))", "", false, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass", "3"},
		{"the second of them", "CREATE INDEX CONCURRENTLY i ON t (b);\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS j ON t (nap(a))", "", false, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass", "4"},
		{"an index that is built again concurrently", "REINDEX TABLE CONCURRENTLY t", "", false, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass", "2"},
		{"an index that is dropped concurrently", "DROP INDEX CONCURRENTLY napping", "BEGIN; SELECT * FROM t", false, "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass", "1"},
		{"a partition that is detached concurrently", "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY", "BEGIN; SELECT * FROM p", false, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass", "0"},
		{"a table that is written anew", "VACUUM FULL t", "", false, "SELECT count(*) FROM t", "50"},
		{"a file step by step", "-- deploy: no-transaction\nINSERT INTO log VALUES ('2.1');\nINSERT INTO log SELECT '2.2' WHERE nap(1) = 1;\nINSERT INTO log VALUES ('2.3')", "", false, "SELECT string_agg(what, ' ' ORDER BY ctid) FROM log", "2.1 2.2 2.3"},
		{"a backfill", "-- deploy: backfill t by a batch 10\nUPDATE t SET b = b + 1 WHERE a BETWEEN $1 AND $2 AND (a < 20 OR nap(a) > 0)", "", false, "SELECT min(b) || ' ' || max(b) FROM t", "1 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.DatabaseOn(t, cluster.URL)
			files := pgtest.Files("1_a.up.sql", napping, "2_b.up.sql", tt.body)
			_, err := migrator(t, address, files).UpTo(context.Background(), 1)
			require.NoError(t, err)
			holder := pgtest.Session(t, pgtest.Named(address, victim))
			if tt.holds != "" {
				_, err = holder.Exec(context.Background(), tt.holds, pgtest.Simply)
				require.NoError(t, err)
			}
			before := signatureOfAll(t, address)
			failed := make(chan error, 1)
			go func() {
				_, err := migrator(t, address, files).Up(context.Background())
				failed <- err
			}()
			pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pipeline-migrations' AND (wait_event = 'PgSleep' OR wait_event_type = 'Lock'))")
			cluster.Crash()
			require.NoError(t, cluster.Launch())
			err = <-failed
			require.ErrorContains(t, err, "m/2_b.up.sql")
			assertDiscreet(t, err.Error())
			if tt.atomic {
				assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
				assert.Equal(t, before, signatureOfAll(t, address))
				assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM log"))
			}
			assertNoAdvisoryLock(t, address)
			_, err = migrator(t, address, files).Up(context.Background())
			require.NoError(t, err)
			assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
			assert.Equal(t, tt.end, pgtest.Value(t, address, tt.check))
			assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indrelid = 't'::regclass"))
			assert.Equal(t, "1:applied,2:applied", pgtest.Value(t, address, "SELECT string_agg(version || ':' || status, ',' ORDER BY version) FROM (SELECT DISTINCT ON (version) * FROM deploy_migrations ORDER BY version, id DESC) last"))
		})
	}
}

// TestServerThatCrashesAtEveryPoint is the kill matrix with the server as the victim. It takes a second a point.
func TestServerThatCrashesAtEveryPoint(t *testing.T) {
	t.Parallel()
	step := 40
	if pgtest.Exhaustive() {
		step = 1
	}
	known, cluster := units(t), durable(t)
	address := pgtest.DatabaseOn(t, cluster.URL)
	n := 1
	for reached := true; reached; n += step {
		settle(t, address)
		empty(t, address)
		var crashed sync.WaitGroup
		reached = false
		proxy := pgtest.NewProxy(t, address, func(m pgtest.Message) pgtest.Verdict {
			if m.Conn != 1 || m.Number != n {
				return pgtest.Pass
			}
			reached = true
			cluster.Crash()
			crashed.Go(func() { assert.NoError(t, cluster.Launch()) }) // meanwhile the run tries to connect again
			return pgtest.Cut
		})
		err := runMatrix("up", proxy.URL(t, address))
		proxy.Close()
		crashed.Wait()
		if !reached {
			require.NoError(t, err)
		}
		settle(t, address)
		now := signature(t, address)
		require.True(t, slices.Contains(known, now), "point %d leaves what is neither before nor after: %s (%v)", n, now, err)
		truthful(t, address)
		require.NoError(t, runMatrix("up", address), "point %d: the next run does not go on", n)
		require.Equal(t, known[len(known)-1], signature(t, address), "point %d", n)
		require.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "point %d", n)
	}
	t.Logf("%d crashes, every %d. of %d points, schema between states: 0", (n-1)/step-1, step, n-1)
}

// hooked is a file system that does something when a file is opened, once.
type hooked struct {
	fstest.MapFS
	name string
	do   atomic.Pointer[func()]
}

func (h *hooked) Open(name string) (fs.File, error) {
	if name == h.name {
		if do := h.do.Swap(nil); do != nil {
			(*do)()
		}
	}
	return h.MapFS.Open(name)
}

// ReadFile is Open's for those who read at once.
func (h *hooked) ReadFile(name string) ([]byte, error) {
	file, err := h.Open(name)
	if err == nil {
		file.Close()
	}
	return h.MapFS.ReadFile(name)
}

// betweenMigrations runs the last two of three migrations and does something between them.
func betweenMigrations(t *testing.T, address string, do func()) (Outcome, []string, error) {
	t.Helper()
	files := &hooked{name: "m/3_c.down.sql", MapFS: pgtest.Files(threeTables...)}
	var notices []string
	m := migrator(t, address, files.MapFS, func(o *Options) {
		o.FS, o.Notice = files, func(n string) { notices = append(notices, n) }
	})
	_, err := m.UpTo(context.Background(), 1)
	require.NoError(t, err)
	files.do.Store(&do)
	outcome, err := m.Up(context.Background())
	require.Nil(t, files.do.Load(), "the hook is called")
	return outcome, notices, err
}

func TestServerThatIsAwayForFiveSecondsBetweenMigrations(t *testing.T) {
	t.Parallel()
	cluster := durable(t)
	address := pgtest.DatabaseOn(t, cluster.URL)
	var away sync.WaitGroup
	outcome, notices, err := betweenMigrations(t, address, func() {
		cluster.Crash()
		away.Go(func() {
			<-time.After(5 * time.Second) // the time it is away, and not one to wait for something
			assert.NoError(t, cluster.Launch())
		})
	})
	away.Wait()
	require.NoError(t, err, "nothing was lost with the connection")
	assert.Len(t, outcome.Applied, 2)
	assert.Greater(t, outcome.Elapsed, 5*time.Second)
	assert.Contains(t, notices, "the connection was lost before m/3_c.up.sql; connecting again")
	assert.Equal(t, "1 applied 2 applied 3 applied", pgtest.Value(t, address, "SELECT string_agg(version || ' ' || status, ' ' ORDER BY id) FROM deploy_migrations"))
	assertNoAdvisoryLock(t, address)
}

func TestServerThatDoesNotComeBackBetweenMigrations(t *testing.T) {
	t.Parallel()
	cluster := durable(t)
	address := pgtest.DatabaseOn(t, cluster.URL)
	outcome, _, err := betweenMigrations(t, address, cluster.Crash)
	require.ErrorContains(t, err, "the connection was lost before m/3_c.up.sql, of which nothing is applied")
	assert.Len(t, outcome.Applied, 1)
	assert.EqualValues(t, 2, outcome.To)
	assert.Less(t, outcome.Elapsed, 5*patience)
	require.NoError(t, cluster.Launch())
	assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
	outcome, err = migrator(t, address, pgtest.Files(threeTables...)).Up(context.Background())
	require.NoError(t, err)
	assert.Len(t, outcome.Applied, 1)
}

func TestAnotherMigratorBetweenMigrationsWhileTheConnectionIsLost(t *testing.T) {
	cluster := durable(t)
	address := pgtest.DatabaseOn(t, cluster.URL)
	outcome, _, err := betweenMigrations(t, address, func() {
		cluster.Crash()
		require.NoError(t, cluster.Launch())
		_, err := migrator(t, address, pgtest.Files(threeTables...)).Up(context.Background())
		require.NoError(t, err)
	})
	require.ErrorContains(t, err, "the connection was lost before m/3_c.up.sql, and another migrator has been at work meanwhile: run again")
	assert.Len(t, outcome.Applied, 1)
	assertNoAdvisoryLock(t, address)
	outcome, err = migrator(t, address, pgtest.Files(threeTables...)).Up(context.Background())
	require.NoError(t, err)
	assert.Empty(t, outcome.Applied)
	assert.Equal(t, "1 applied 2 applied 3 applied", pgtest.Value(t, address, "SELECT string_agg(version || ' ' || status, ' ' ORDER BY id) FROM deploy_migrations"))
}

func TestServerThatCrashesOnTheWayDown(t *testing.T) {
	cluster := durable(t)
	for name, down := range map[string]string{
		"in a transaction":      "INSERT INTO log SELECT 'back' WHERE nap(1) = 1; DROP TABLE b",
		"outside a transaction": "-- deploy: no-transaction\nINSERT INTO log VALUES ('back');\nDROP TABLE b;\nSELECT nap(1)",
	} {
		t.Run(name, func(t *testing.T) {
			address := pgtest.DatabaseOn(t, cluster.URL)
			files := pgtest.Files("1_a.up.sql", napping, "2_b.up.sql", "CREATE TABLE b ()", "2_b.down.sql", down)
			_, err := migrator(t, address, files).Up(context.Background())
			require.NoError(t, err)
			pgtest.Session(t, pgtest.Named(address, victim))
			failed := make(chan error, 1)
			go func() {
				_, err := migrator(t, address, files).Down(context.Background(), 1)
				failed <- err
			}()
			pgtest.Eventually(t, address, pgtest.Sleeping)
			cluster.Crash()
			require.NoError(t, cluster.Launch())
			require.ErrorContains(t, <-failed, "m/2_b.down.sql")
			_, err = migrator(t, address, files).Down(context.Background(), 1)
			require.NoError(t, err)
			assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
			assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM log"), "not done twice")
			assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('b')"))
		})
	}
}

func TestServerThatIsStartingUp(t *testing.T) {
	cluster := durable(t)
	address := pgtest.DatabaseOn(t, cluster.URL)
	pgtest.Exec(t, cluster.URL, "ALTER SYSTEM SET restore_command = 'sleep 0.5; false'")
	cluster.Crash()
	require.NoError(t, os.WriteFile(filepath.Join(cluster.Dir, "recovery.signal"), nil, 0o644))
	started := make(chan error, 1)
	go func() { started <- cluster.Launch() }()
	files := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()")
	var server *pgconn.PgError
	for server == nil { // before that nobody listens
		_, err := migrator(t, address, files).Up(context.Background())
		require.Error(t, err)
		if errors.As(err, &server) {
			assert.Equal(t, "57P03", server.Code)
			assert.ErrorContains(t, err, "connect to database: ")
			assertDiscreet(t, err.Error())
		}
	}
	require.NoError(t, <-started)
	_, err := migrator(t, address, files).Up(context.Background())
	if err != nil { // it may be read from before it may be written
		require.ErrorContains(t, err, "the server is a standby, which can only be read: name the primary in the database's URL")
	}
	pgtest.Eventually(t, address, "NOT pg_is_in_recovery()")
	_, err = migrator(t, address, files).Up(context.Background())
	require.NoError(t, err)
}

func TestHistoryOfACrashIsReadByTheNextRun(t *testing.T) {
	t.Parallel()
	cluster := durable(t)
	address := pgtest.DatabaseOn(t, cluster.URL)
	files := pgtest.Files("1_a.up.sql", napping, "2_b.up.sql", "CREATE TABLE b (); SELECT nap(1)")
	_, err := migrator(t, address, files).UpTo(context.Background(), 1)
	require.NoError(t, err)
	pgtest.Session(t, pgtest.Named(address, victim))
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := migrator(t, address, files).Up(ctx)
		failed <- err
	}()
	pgtest.Eventually(t, address, pgtest.Sleeping)
	cluster.Crash()
	cancel() // it does not come back to write how it ended
	require.Error(t, <-failed)
	require.NoError(t, cluster.Launch())
	_, err = migrator(t, address, files).Up(context.Background())
	require.NoError(t, err)
	entries, err := migrator(t, address, files).History(context.Background())
	require.NoError(t, err)
	var told []string
	for _, e := range entries {
		told = append(told, fmt.Sprint(e.Version, " ", e.Status))
	}
	assert.Equal(t, []string{"1 " + string(history.Applied), "2 " + string(history.Interrupted), "2 " + string(history.Applied)}, told)
	assert.Equal(t, "the run disappeared before it could say how it ended", entries[1].Error)
}
