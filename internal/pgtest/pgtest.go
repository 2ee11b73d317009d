// Package pgtest gives tests a real PostgreSQL server: one cluster a test process, quick and forgetful, and a database of
// its own for every test. Only tests import it.
package pgtest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
)

// Password is of the test server. No error may hold it.
const Password = "correct-horse%battery"

// serverVariable names a PostgreSQL to test with, as a superuser's URL; without it one is started.
const serverVariable = "PIPELINE_TEST_POSTGRES_URL"

// shared is the server that all tests of the process use, started by the first that asks.
var shared struct {
	once    sync.Once
	url     string
	err     error
	cluster *Cluster
}

// Main runs the tests of a package and ends the server they shared: func TestMain(m *testing.M) { pgtest.Main(m) }.
func Main(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.Stop()
	}
	os.Exit(code)
}

// Server is the URL of the test server, as its superuser. A test that needs one and has none fails: a skipped test proves
// nothing.
func Server(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		if shared.url = os.Getenv(serverVariable); shared.url != "" {
			return
		}
		if shared.cluster, shared.err = start(nil); shared.err == nil {
			shared.url = shared.cluster.URL
		}
	})
	if shared.err != nil {
		t.Fatalf("these tests need PostgreSQL: apt-get install postgresql, or set %s to a superuser's URL: %v", serverVariable, shared.err)
	}
	return shared.url
}

// Database makes an empty database for one test.
func Database(t testing.TB) string {
	t.Helper()
	return DatabaseOn(t, Server(t))
}

// DatabaseOn makes an empty database on another server.
func DatabaseOn(t testing.TB, server string) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	Exec(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { Exec(t, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	address, err := pg.OnDatabase(server, name)
	require.NoError(t, err)
	return address
}

// Session is a connection that ends with the test.
func Session(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Simply sends several statements at once.
const Simply = pgx.QueryExecModeSimpleProtocol

// Exec runs statements on a session of their own.
func Exec(t testing.TB, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), sql, Simply)
	require.NoError(t, err)
}

// Value is the one value a query answers, as text.
func Value(t testing.TB, address, query string) string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var v *string
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT ("+query+")::text", Simply).Scan(&v))
	if v == nil {
		return "NULL"
	}
	return *v
}

// Eventually waits for a condition to be true, on a session of its own.
func Eventually(t testing.TB, address, condition string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	deadline := time.Now().Add(time.Minute)
	for ; ; time.Sleep(5 * time.Millisecond) {
		var yes bool
		require.NoError(t, conn.QueryRow(context.Background(), "SELECT "+condition).Scan(&yes))
		if yes {
			return
		}
		require.True(t, time.Now().Before(deadline), "not within a minute: %s", condition)
	}
}

// Sleeping is the condition that a session of the database is in pg_sleep.
const Sleeping = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')"

// Named is the URL for a session that others know by a name.
func Named(address, name string) string {
	if strings.Contains(address, "?") {
		return address + "&application_name=" + name
	}
	return address + "?application_name=" + name
}

// Files is a folder "m" of migrations: name, content, name, content …
func Files(pairs ...string) fstest.MapFS {
	folder := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		folder["m/"+pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return folder
}

// Journal is drizzle-kit's, of "idx when tag" lines.
func Journal(entries ...string) string {
	var list []string
	for _, e := range entries {
		f := strings.Fields(e)
		list = append(list, `    {"idx": `+f[0]+`, "version": "7", "when": `+f[1]+`, "tag": "`+f[2]+`", "breakpoints": true}`)
	}
	return "{\n  \"version\": \"7\",\n  \"dialect\": \"postgresql\",\n  \"entries\": [\n" + strings.Join(list, ",\n") + "\n  ]\n}\n"
}

// Copy makes a database of another one, to which nobody must be connected.
func Copy(t testing.TB, template string) string {
	t.Helper()
	server, err := pg.OnDatabase(template, "postgres")
	require.NoError(t, err)
	u, err := url.Parse(template)
	require.NoError(t, err)
	name := "test_" + strings.ToLower(rand.Text())
	Eventually(t, server, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = '"+u.Path[1:]+"')")
	Exec(t, server, "CREATE DATABASE "+name+" TEMPLATE "+u.Path[1:])
	t.Cleanup(func() { Exec(t, server, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	address, err := pg.OnDatabase(template, name)
	require.NoError(t, err)
	return address
}

// Drop removes a database before its test ends.
func Drop(t testing.TB, address string) {
	t.Helper()
	server, err := pg.OnDatabase(address, "postgres")
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	Exec(t, server, "DROP DATABASE IF EXISTS "+u.Path[1:]+" WITH (FORCE)")
}
