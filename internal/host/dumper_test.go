package host

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/backup"
)

// commandLines are those of all processes, each word ended by a zero byte.
func commandLines(t *testing.T) string {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		line, _ := os.ReadFile(file)
		all.Write(line)
	}
	return all.String()
}

func TestDumpCanBeRestored(t *testing.T) {
	s := startPostgres(t, PostgresOptions{})
	from, err := s.CreateDatabase(bounded(t), "app")
	require.NoError(t, err)
	execute(t, from, "CREATE ROLE owner", "CREATE TABLE t (id int PRIMARY KEY, v text)",
		"INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 1000) i", "ALTER TABLE t OWNER TO owner", "GRANT SELECT ON t TO owner")
	// While somebody has the table, pg_dump waits for it, and can be looked at.
	var dump bytes.Buffer
	lock, err := pgx.Connect(bounded(t), from)
	require.NoError(t, err)
	defer lock.Close(context.Background())
	_, err = lock.Exec(bounded(t), "BEGIN; LOCK TABLE t", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	dumped := make(chan error, 1)
	ctx := bounded(t)
	go func() { dumped <- Dumper{}.Dump(ctx, from+"&pool_max_conns=4&application_name=a+b", "", &dump) }()
	require.Eventually(t, func() bool {
		return query[int64](t, from, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass") == 1
	}, patience, readyInterval)
	running := commandLines(t)
	assert.Contains(t, running, "--dbname\x00postgres://postgres@127.0.0.1")
	assert.NotContains(t, running, s.password)
	_, err = lock.Exec(bounded(t), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, <-dumped)
	assert.True(t, bytes.HasPrefix(dump.Bytes(), []byte("PGDMP")))
	file := filepath.Join(t.TempDir(), "dump")
	require.NoError(t, os.WriteFile(file, dump.Bytes(), 0o600))

	scratch := startPostgres(t, PostgresOptions{}) // has no role "owner"
	for _, jobs := range []int{1, 3} {
		to, err := scratch.CreateDatabase(bounded(t), "restored")
		require.NoError(t, err)
		require.NoError(t, Dumper{}.Restore(bounded(t), to, file, backup.Load{Jobs: jobs}))
		const sum = "SELECT md5(string_agg(id || v, ',' ORDER BY id)) FROM t"
		assert.Equal(t, query[string](t, from, sum), query[string](t, to, sum))
		require.NoError(t, scratch.DropDatabase(bounded(t), "restored"))
	}
	withRoles, err := scratch.CreateDatabase(bounded(t), "with_roles")
	require.NoError(t, err)
	err = Dumper{}.Restore(bounded(t), withRoles, file, backup.Load{Roles: true})
	assert.ErrorContains(t, err, `role "owner" does not exist`)
	assert.Equal(t, int64(0), query[int64](t, withRoles, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "nothing is left of it")
	assert.NotContains(t, err.Error(), scratch.password)
}

func TestBackupIsProvenInAScratchServer(t *testing.T) {
	s := startPostgres(t, PostgresOptions{Settings: map[string]string{"wal_level": "logical", "work_mem": "7MB"}})
	from, err := s.CreateDatabase(bounded(t), "app")
	require.NoError(t, err)
	execute(t, from, "CREATE ROLE owner", "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 1000) i",
		"ALTER TABLE t OWNER TO owner", "CREATE POLICY p ON t TO owner USING (true)")
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	b, err := backup.Make(bounded(t), backup.Options{
		URL: from, Dumper: Dumper{}, Cluster: Cluster{CacheDir: clusters}, Dir: t.TempDir(), Temp: t.TempDir(), Keep: true,
		Recipients: []string{identity.Recipient().String()},
	})
	require.NoError(t, err)
	assert.True(t, b.Proven)
	assert.Empty(t, b.Notes)
	assert.NotContains(t, b.Copy.URL, s.password)
	assert.Equal(t, "logical 7MB owner", query[string](t, b.Copy.URL, "SELECT current_setting('wal_level') || ' ' || current_setting('work_mem') || ' ' || tableowner FROM pg_tables WHERE tablename = 't'"))
	require.NoError(t, b.Copy.Close(bounded(t)))
	_, err = pgx.Connect(bounded(t), b.Copy.URL)
	assert.Error(t, err)

	again, err := backup.Verify(bounded(t), backup.VerifyOptions{
		File: b.File, Identity: identity.String(), Dumper: Dumper{}, Cluster: Cluster{CacheDir: clusters}, Temp: t.TempDir(),
	})
	require.NoError(t, err)
	assert.True(t, again.Proven)
}

func TestScratchServerThatCannotBeHad(t *testing.T) {
	if _, err := findPostgres(); err != nil {
		t.Skip(err)
	}
	_, err := Cluster{CacheDir: clusters}.Start(bounded(t), backup.Server{Major: 99})
	assert.ErrorContains(t, err, "PostgreSQL 99 or newer is needed")
	assert.ErrorContains(t, err, "postgresql-99")

	s, err := Cluster{CacheDir: clusters}.Start(bounded(t), backup.Server{Major: 9, Settings: map[string]string{"shared_preload_libraries": "no_such_library", "work_mem": "6MB"}})
	require.NoError(t, err, "the oldest that is newer, without the library")
	assert.Equal(t, "6MB", query[string](t, s.URL(), "SELECT current_setting('work_mem')"))
	require.NoError(t, s.Close(bounded(t)))
}

func TestToolsThatAreMissing(t *testing.T) {
	all := clients
	t.Cleanup(func() { clients = all })
	clients = func() []postgresBin { return nil }
	_, err := Dumper{}.Version(bounded(t), "postgres://127.0.0.1:1/x")
	assert.ErrorContains(t, err, "pg_dump is not on PATH")
	assert.ErrorContains(t, Dumper{}.Dump(bounded(t), "postgres://127.0.0.1:1/x", "", &bytes.Buffer{}), "postgresql-client")
	clients = func() []postgresBin {
		return []postgresBin{{dir: "/nowhere", version: "pg_dump (PostgreSQL) 12.3", major: 12}}
	}
	version, err := Dumper{}.Version(bounded(t), "postgres://127.0.0.1:1/x")
	require.NoError(t, err)
	assert.Equal(t, backup.Version{Major: 12, Full: "12.3"}, version)
}

func TestDumpErrorsSayWhyAndHideThePassword(t *testing.T) {
	s := startPostgres(t, PostgresOptions{})
	err := Dumper{}.Dump(bounded(t), s.URL("absent"), "", &bytes.Buffer{})
	assert.ErrorContains(t, err, `database "absent" does not exist`)
	assert.NotContains(t, err.Error(), s.password)
	err = Dumper{}.Dump(bounded(t), "mysql://root:hunter2@localhost/x", "", &bytes.Buffer{})
	assert.ErrorContains(t, err, "postgres://")
	assert.NotContains(t, err.Error(), "hunter2")
	assert.ErrorContains(t, Dumper{}.Restore(bounded(t), s.URL("postgres"), "/dev/null", backup.Load{}), "pg_restore")
}

func TestComplaintsQuoteNoRow(t *testing.T) {
	for text, want := range map[string]string{
		"pg_restore: error: COPY failed for table \"t\": ERROR:  duplicate key value violates unique constraint \"t_id_key\"\nDETAIL:  Key (mail)=(a@b.c) already exists.\nCONTEXT:  COPY t, line 2\n":                                                            `error: COPY failed for table "t": ERROR:  duplicate key value violates unique constraint "t_id_key"`,
		"pg_restore: error: COPY failed for table \"t\": ERROR:  invalid input syntax for type integer: \"a@b.c\"\nCONTEXT:  COPY t, line 1, column s: \"a@b.c\"\n":                                                                                               `error: COPY failed for table "t": ERROR:  invalid input syntax for type integer: …`,
		"pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 3; USER MAPPING\npg_restore: error: could not execute query: ERROR:  server \"s\" does not exist\nCommand was: CREATE USER MAPPING FOR x SERVER s OPTIONS (\n    password 'a@b.c'\n);\n\n": `while PROCESSING TOC:; from TOC entry 3; USER MAPPING; error: could not execute query: ERROR:  server "s" does not exist`,
		"": "",
	} {
		assert.Equal(t, want, complaint("pg_restore", text))
	}
}

func TestPasswordsAreOnNoCommandLine(t *testing.T) {
	for url, want := range map[string]struct{ target, password string }{
		"postgres://u:p%40ss@h:1/db?sslmode=disable":          {"postgres://u@h:1/db?sslmode=disable", "p@ss"},
		"postgresql://u@h/db":                                 {"postgresql://u@h/db", ""},
		"postgres://h/db?user=u&password=p":                   {"postgres://u@h/db", "p"},
		"postgres://u:p@h/db?schema=x&options=-c%20a%3Db&x=y": {"postgres://u@h/db?options=-c%20a%3Db", "p"},
		"postgres://u:p@h/db?sslpassword=s&sslkey=k":          {"postgres://u@h/db?sslkey=k", "p"},
	} {
		target, env, err := libpq(url)
		require.NoError(t, err)
		assert.Equal(t, want.target, target)
		if want.password == "" {
			assert.Empty(t, env)
		} else {
			assert.Equal(t, []string{"PGPASSWORD=" + want.password}, env)
		}
	}
}
