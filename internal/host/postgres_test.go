package host

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

func startPostgres(t testing.TB, options PostgresOptions) *Postgres {
	t.Helper()
	if _, err := findPostgres(); err != nil {
		t.Skip(err)
	}
	if options.CacheDir == "" {
		options.CacheDir = clusters
	}
	s, err := StartPostgres(t.Context(), "", options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func query[T any](t *testing.T, url, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(bounded(t), sql).Scan(&value))
	return value
}

func execute(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for _, s := range statements {
		_, err := conn.Exec(bounded(t), s)
		require.NoError(t, err, s)
	}
}

func TestPostgresIsOneOfItsOwn(t *testing.T) {
	s := startPostgres(t, PostgresOptions{Settings: map[string]string{"log_min_duration_statement": "0"}})
	url, err := s.CreateDatabase(bounded(t), `odd "name"`)
	require.NoError(t, err)
	assert.Equal(t, `odd "name"`, query[string](t, url, "SELECT current_database()"))
	for setting, want := range map[string]string{
		"fsync": "off", "listen_addresses": "127.0.0.1", "server_encoding": "UTF8", "TimeZone": "UTC", "log_min_duration_statement": "0",
	} {
		assert.Equal(t, want, query[string](t, url, "SELECT current_setting('"+setting+"')"), setting)
	}
	assert.True(t, strings.HasPrefix(query[string](t, url, "SHOW data_directory"), s.dir))
	assert.Contains(t, s.logTail(), "ready to accept connections")

	wrong := strings.Replace(url, s.password, "wrong", 1)
	_, err = pgx.Connect(bounded(t), wrong)
	assert.ErrorContains(t, err, "password authentication failed")

	require.NoError(t, s.DropDatabase(bounded(t), `odd "name"`))
	_, err = pgx.Connect(bounded(t), url)
	assert.Error(t, err)
	require.NoError(t, s.Close())
	assert.NoDirExists(t, s.dir)
	<-s.Done()
}

func TestPostgresServersDoNotMeet(t *testing.T) {
	one, two := startPostgres(t, PostgresOptions{}), startPostgres(t, PostgresOptions{})
	assert.NotEqual(t, one.URL("postgres"), two.URL("postgres"))
	_, err := one.CreateDatabase(bounded(t), "mine")
	require.NoError(t, err)
	assert.Equal(t, int64(0), query[int64](t, two.URL("postgres"), "SELECT count(*) FROM pg_database WHERE datname = 'mine'"))
}

func TestPostgresRunsInADirectoryOfTheCallers(t *testing.T) {
	if _, err := findPostgres(); err != nil {
		t.Skip(err)
	}
	parent := shortDir(t)
	dir := filepath.Join(parent, "cluster")
	require.NoError(t, os.Mkdir(dir, 0o700))
	s, err := StartPostgres(bounded(t), dir, PostgresOptions{CacheDir: clusters})
	require.NoError(t, err)
	assert.Equal(t, int64(1), query[int64](t, s.URL("postgres"), "SELECT 1::bigint"))
	require.NoError(t, s.Close())
	left, err := os.ReadDir(parent)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// shortDir is a directory that user postgres can reach.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ht")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { removeTree(dir) })
	return dir
}

func TestPostgresOnAPortThatIsTakenSaysSo(t *testing.T) {
	s := startPostgres(t, PostgresOptions{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, s.process.Stop(bounded(t), patience))
	s.port, _ = strconv.Atoi(port)
	require.NoError(t, s.serve(nil))
	assert.ErrorIs(t, s.ready(bounded(t)), errPortTaken)
}

func TestPostgresThatDoesNotStartSaysWhy(t *testing.T) {
	if _, err := findPostgres(); err != nil {
		t.Skip(err)
	}
	_, err := StartPostgres(bounded(t), "", PostgresOptions{CacheDir: clusters, Settings: map[string]string{"shared_buffers": "lots"}})
	assert.ErrorContains(t, err, "shared_buffers")
}

func TestStepsShareAServerButNoDatabase(t *testing.T) {
	if _, err := findPostgres(); err != nil {
		t.Skip(err)
	}
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: clusters})
	var steps []ci.Step
	for _, name := range []string{"one", "two"} {
		s := stepOf(name, `echo "$DATABASE_URL"; echo "$OTHER_URL"`)
		s.Services = []ci.Service{{Kind: ci.Postgres, Env: "DATABASE_URL"}, {Kind: ci.Postgres, Env: "OTHER_URL"}}
		steps = append(steps, s)
	}
	hosts, databases := map[string]bool{}, map[string]bool{}
	for _, result := range runSteps(t, r, steps...) {
		requirePassed(t, result)
		for line := range strings.Lines(string(result.Log)) {
			config, err := pgx.ParseConfig(strings.TrimSpace(line))
			require.NoError(t, err)
			hosts[config.Host+strconv.Itoa(int(config.Port))] = true
			databases[config.Database] = true
		}
	}
	assert.Len(t, hosts, 1)
	assert.Len(t, databases, 4)
	assert.Equal(t, int64(0), query[int64](t, r.postgres.server.URL("postgres"), "SELECT count(*) FROM pg_database WHERE datname LIKE 'step_%'"))

	require.NoError(t, r.postgres.server.process.Stop(bounded(t), 0)) // somebody kills the server
	again := steps[0]
	again.Env = map[string]string{"AGAIN": "1"}
	requirePassed(t, runSteps(t, r, again)...)
}

func TestRedisIsOneOfItsOwn(t *testing.T) {
	s, err := StartRedis(bounded(t), "")
	require.NoError(t, err)
	conn, err := net.Dial("tcp", s.address())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("DBSIZE\r\n"))
	require.NoError(t, err)
	answer := make([]byte, 4)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Read(answer)
	require.NoError(t, err)
	assert.Equal(t, ":0\r\n", string(answer))
	assert.Equal(t, "redis://"+s.address()+"/0", s.URL())
	require.NoError(t, s.Close())
	assert.NoDirExists(t, s.dir)
}

func BenchmarkStartPostgres(b *testing.B) {
	cache := b.TempDir()
	for b.Loop() {
		s, err := StartPostgres(b.Context(), "", PostgresOptions{CacheDir: cache})
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}

func BenchmarkStartRedis(b *testing.B) {
	for b.Loop() {
		s, err := StartRedis(b.Context(), "")
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}
