package migrations

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// Errors that other sessions and the server cause; those of a migration's own statements are in classes_test.go.

func TestErrorThatAnotherSessionCauses(t *testing.T) {
	deadlocked := func(t testing.TB, address string) (free func()) {
		other := pgtest.Session(t, address)
		_, err := other.Exec(context.Background(), "SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE shown", pgtest.Simply) // so that we are the victim
		require.NoError(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE relation = 't'::regclass AND granted AND mode = 'AccessExclusiveLock')")
			_, _ = other.Exec(context.Background(), "LOCK TABLE t")
		}()
		return func() { <-ended; _ = other.Close(context.Background()) }
	}
	holding := func(sql string) func(testing.TB, string) func() {
		return func(t testing.TB, address string) func() {
			other := pgtest.Session(t, address)
			_, err := other.Exec(context.Background(), sql, pgtest.Simply)
			require.NoError(t, err)
			return func() { _ = other.Close(context.Background()) }
		}
	}
	when := func(condition, then string) func(testing.TB, string) func() {
		return func(t testing.TB, address string) func() {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				pgtest.Eventually(t, address, condition)
				pgtest.Exec(t, address, then)
			}()
			return func() { <-ended }
		}
	}
	const sleeper = " FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
	tests := []struct {
		code, name, body, at string
		says                 []string
		disturb              func(testing.TB, string) (free func())
	}{
		{"40001", "a row that another transaction has changed", "DO $$ BEGIN RAISE SQLSTATE '40001' USING MESSAGE = 'could not serialize access'; END $$ -- until corrected", ":1", []string{"gave up after 1 attempts"}, holding("SELECT 1")},
		{"40P01", "a deadlock", "SELECT 1;\nSET LOCAL lock_timeout = '30s'; LOCK TABLE t; LOCK TABLE shown", ":2", []string{"deadlock detected", "detail: Process", "gave up after 1 attempts"}, deadlocked},
		{"55P03", "a lock that is not got in time", "SELECT 1;\nALTER TABLE t ADD COLUMN a int", ":2", []string{"canceling statement due to lock timeout", "hint: other sessions hold a lock", "oldest open transactions: pid"}, holding("BEGIN; SELECT * FROM t")},
		{"55P03", "a lock that is not waited for", "SELECT 1;\nLOCK TABLE t NOWAIT", ":2", []string{`could not obtain lock on relation "t"`}, holding("BEGIN; SELECT * FROM t")},
		{"57014", "somebody who cancels it", "SELECT 1;\nSELECT pg_sleep(60)", ":2", []string{"canceling statement due to user request"}, when("EXISTS (SELECT"+sleeper+")", "SELECT pg_cancel_backend(pid)"+sleeper)},
		{"57P01", "somebody who ends its session", "SELECT 1;\nSELECT pg_sleep(60)", ":2", []string{"terminating connection due to administrator command"}, when("EXISTS (SELECT"+sleeper+")", "SELECT pg_terminate_backend(pid)"+sleeper)},
	}
	for _, tt := range tests {
		t.Run(tt.code+" "+tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			files := pgtest.Files("1_a.up.sql", people, "2_b.up.sql", tt.body)
			_, err := migrator(t, address, files).UpTo(context.Background(), 1)
			require.NoError(t, err)
			free := tt.disturb(t, address)
			_, err = migrator(t, address, files, impatient).Up(context.Background())
			free()
			assertFailure(t, address, err, "m/2_b.up.sql"+tt.at, tt.code)
			for _, s := range tt.says {
				assert.Contains(t, err.Error(), s)
			}
			if tt.code == "40001" || tt.code[:3] == "57P" || tt.code == "57014" {
				files["m/2_b.up.sql"].Data = []byte("CREATE TABLE corrected ()")
			}
			_, err = migrator(t, address, files).Up(context.Background())
			require.NoError(t, err, "the cause is gone")
		})
	}
}

func TestSerializationFailureIsTriedAgain(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, people+"SELECT 1")
	other := pgtest.Session(t, address)
	_, err := other.Exec(context.Background(), "BEGIN; UPDATE people SET name = 'x' WHERE id = 4711", pgtest.Simply)
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
		_, err := other.Exec(context.Background(), "COMMIT")
		assert.NoError(t, err)
	}()
	outcome, err := migrator(t, address, pgtest.Files("1_a.up.sql",
		"-- deploy: no-transaction\nSET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ;\nUPDATE people SET big = 'y' WHERE id = 4711"),
		func(o *Options) { o.LockTimeout = 30 * time.Second }).Up(context.Background())
	<-ended
	require.NoError(t, err)
	assert.Equal(t, 2, outcome.Applied[0].Attempts)
	assert.Equal(t, "x y", pgtest.Value(t, address, "SELECT name || ' ' || big FROM people WHERE id = 4711"), "neither change is lost")
}

func TestDatabaseInUseIsNotDropped(t *testing.T) {
	address := pgtest.Database(t)
	busy := pgtest.Database(t)
	pgtest.Session(t, busy)
	files := pgtest.Files("1_a.up.sql", "DROP DATABASE "+databaseName(busy))
	_, err := migrator(t, address, files).Up(context.Background())
	require.ErrorContains(t, err, "is being accessed by other users (55006)")
	require.ErrorContains(t, err, "m/1_a.up.sql:1: database")
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery), "nothing was done, so nothing is dirty")
	pgtest.Drop(t, busy)
	pgtest.Exec(t, address, "CREATE DATABASE "+databaseName(busy))
	_, err = migrator(t, address, files).Up(context.Background())
	require.NoError(t, err)
}

func TestErrorOfConnecting(t *testing.T) {
	server := pgtest.Server(t)
	address := pgtest.Database(t)
	name := databaseName(address)
	as := func(user, password, database string) string {
		u, err := url.Parse(server)
		require.NoError(t, err)
		u.User, u.Path = url.UserPassword(user, password), "/"+database
		return u.String()
	}
	pgtest.Exec(t, address, "CREATE ROLE absent_"+name+" NOLOGIN PASSWORD 'wr0ng-secret'; CREATE ROLE full_"+name+" LOGIN CONNECTION LIMIT 0 PASSWORD 'wr0ng-secret'; CREATE ROLE shut_"+name+" LOGIN PASSWORD 'wr0ng-secret'; REVOKE CONNECT ON DATABASE "+name+" FROM public")
	t.Cleanup(func() { pgtest.Exec(t, server, "DROP ROLE absent_"+name+", full_"+name+", shut_"+name) })
	tests := []struct{ code, name, address, says string }{
		{"28P01", "a wrong password", as("postgres", "wr0ng-secret", name), "password authentication failed for user \"postgres\""},
		{"28000", "a role that may not log in", as("absent_"+name, "wr0ng-secret", name), "is not permitted to log in"},
		{"3D000", "a database that is not", as("postgres", pgtest.Password, "nope_"+name), "database \"nope_" + name + "\" does not exist"},
		{"42501", "a database that a role may not connect to", as("shut_"+name, "wr0ng-secret", name), "permission denied for database"},
		{"53300", "too many connections", as("full_"+name, "wr0ng-secret", name), "too many connections for role"},
	}
	for _, tt := range tests {
		t.Run(tt.code+" "+tt.name, func(t *testing.T) {
			_, err := migrator(t, tt.address, pgtest.Files("1_a.up.sql", "SELECT 1")).Up(context.Background())
			var server *pgconn.PgError
			require.ErrorAs(t, err, &server)
			assert.Equal(t, tt.code, server.Code)
			assert.ErrorContains(t, err, tt.says)
			assertDiscreet(t, err.Error())
			assert.NotContains(t, err.Error(), "wr0ng")
			assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('schema_migrations')"))
		})
	}
}

func TestPageThatIsCorrupt(t *testing.T) {
	cluster := pgtest.Start(t, nil)
	address := pgtest.DatabaseOn(t, cluster.URL)
	files := pgtest.Files("1_a.up.sql", people, "2_b.up.sql", "SELECT 1;\nALTER TABLE people ALTER name TYPE varchar(20)")
	_, err := migrator(t, address, files).UpTo(context.Background(), 1)
	require.NoError(t, err)
	page := filepath.Join(cluster.Dir, pgtest.Value(t, address, "SELECT pg_relation_filepath('people')"))
	pgtest.Exec(t, address, "CHECKPOINT")
	cluster.Crash()
	whole, err := os.ReadFile(page)
	require.NoError(t, err)
	broken := append([]byte("Ada-4711 Ada-4711 Ada-4711"), whole[26:]...)
	require.NoError(t, os.WriteFile(page, broken, 0o600))
	require.NoError(t, cluster.Launch())
	_, err = migrator(t, address, files).Up(context.Background())
	assertFailure(t, address, err, "m/2_b.up.sql:2", "XX001")
	require.ErrorContains(t, err, "invalid page in block 0 of relation")
	pgtest.Exec(t, address, "CHECKPOINT")
	cluster.Crash()
	require.NoError(t, os.WriteFile(page, whole, 0o600))
	require.NoError(t, cluster.Launch())
	_, err = migrator(t, address, files).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, "2", pgtest.Value(t, address, "SELECT count(*) FROM people WHERE name LIKE 'Ada-%'"))
}
