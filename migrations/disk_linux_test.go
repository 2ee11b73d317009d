package migrations

import (
	"context"
	"errors"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// disk is a small one, which can be made larger.
func disk(t testing.TB, size string) (dir string, resize func(size string)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pipeline-disk-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		t.Skipf("a full disk is a file system mounted for the test, which takes root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	if account, err := user.Lookup("postgres"); err == nil {
		uid, _ := strconv.Atoi(account.Uid)
		require.NoError(t, os.Chown(dir, uid, -1))
	}
	return dir, func(size string) {
		require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size))
	}
}

func TestDiskThatIsFullWhileMigrating(t *testing.T) {
	const rows = "SELECT g AS id, sha512(g::text::bytea) AS v FROM generate_series(1, 30000) g" // 4 MB, and an index of 3
	tests := []struct {
		name, table, body, at string
		unfinished            bool
	}{
		{"a table that is made", "CREATE TABLE t (a int)", "CREATE TABLE n (a int);\nCREATE TABLE big TABLESPACE small AS " + rows, ":2", false},
		{"rows that are inserted", "CREATE TABLE t (id int, v bytea) TABLESPACE small", "CREATE TABLE n (a int);\nINSERT INTO t " + rows, ":2", false},
		{"a table that is written anew", "CREATE TABLE t TABLESPACE small AS SELECT g AS id FROM generate_series(1, 40000) g", "ALTER TABLE t ADD COLUMN b uuid DEFAULT gen_random_uuid()", ":1", false},
		{"an index", "CREATE TABLE t AS " + rows, "SELECT 1;\nCREATE INDEX i ON t (v) TABLESPACE small", ":2", false},
		{"an index that is built concurrently", "CREATE TABLE t AS " + rows, "CREATE INDEX CONCURRENTLY i ON t (v) TABLESPACE small", ":1", false},
		{"an index that is built again concurrently", "CREATE TABLE t AS " + rows + "; CREATE INDEX i ON t (v)", "REINDEX (TABLESPACE small) INDEX CONCURRENTLY i", ":1", false},
		{"the second statement of a file step by step", "CREATE TABLE t (id int, v bytea) TABLESPACE small", "-- deploy: no-transaction\nCREATE TABLE n (a int);\nINSERT INTO t " + rows, ":3", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, resize := disk(t, "2m")
			address := pgtest.Database(t)
			space := "small_" + databaseName(address)
			here := func(sql string) string { return strings.ReplaceAll(sql, "TABLESPACE small", "TABLESPACE "+space) }
			pgtest.Exec(t, pgtest.Server(t), "CREATE TABLESPACE "+space+" LOCATION '"+dir+"'")
			t.Cleanup(func() {
				pgtest.Drop(t, address)
				pgtest.Exec(t, pgtest.Server(t), "DROP TABLESPACE "+space)
			})
			files := pgtest.Files("1_a.up.sql", here(tt.table), "2_b.up.sql", here(tt.body))
			_, err := migrator(t, address, files).UpTo(context.Background(), 1)
			require.NoError(t, err)
			before := signatureOfAll(t, address)
			rowsBefore := pgtest.Value(t, address, "SELECT count(*) FROM t")
			_, err = migrator(t, address, files).Up(context.Background())
			require.ErrorContains(t, err, "No space left on device (53100)")
			require.ErrorContains(t, err, "m/2_b.up.sql"+tt.at+": could not ")
			assertDiscreet(t, err.Error())
			assert.Equal(t, "failed 53100", pgtest.Value(t, address, "SELECT status || ' ' || sqlstate FROM deploy_migrations ORDER BY id DESC LIMIT 1"))
			if tt.unfinished {
				require.ErrorIs(t, err, ErrDirty)
				assert.Equal(t, "n", pgtest.Value(t, address, "SELECT to_regclass('n')"))
			} else {
				assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
				assert.Equal(t, before, signatureOfAll(t, address), "nothing is left")
			}
			assert.Equal(t, rowsBefore, pgtest.Value(t, address, "SELECT count(*) FROM t"))
			assert.Equal(t, "0", pgtest.Value(t, address, invalidQuery))
			assertNoAdvisoryLock(t, address)
			_, err = migrator(t, address, files).Up(context.Background())
			require.ErrorContains(t, err, "(53100)", "as long as the disk is full")

			resize("64m")
			_, err = migrator(t, address, files).Up(context.Background())
			require.NoError(t, err, "there is room now")
			assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
		})
	}
}

func TestDiskOfTheWriteAheadLogThatIsFull(t *testing.T) {
	dir, resize := disk(t, "110m") // an empty cluster takes 40, and its log 16 at least
	t.Setenv("TMPDIR", dir)
	cluster := pgtest.Start(t, map[string]string{"synchronous_commit": "on", "full_page_writes": "on", "restart_after_crash": "off", "max_wal_size": "1GB", "checkpoint_timeout": "1h"})
	t.Setenv("TMPDIR", "/tmp")
	address := pgtest.DatabaseOn(t, cluster.URL)
	files := pgtest.Files("1_a.up.sql", "CREATE TABLE t (id int, v bytea)",
		"2_b.up.sql", "CREATE TABLE n ();\nINSERT INTO t SELECT g, sha512(g::text::bytea) FROM generate_series(1, 400000) g")
	_, err := migrator(t, address, files).UpTo(context.Background(), 1)
	require.NoError(t, err)
	_, err = migrator(t, address, files).Up(context.Background())
	require.ErrorContains(t, err, "m/2_b.up.sql")
	var server *pgconn.PgError
	if errors.As(err, &server) { // who meets with the full disk says why before it ends; the others are ended with it
		assert.Contains(t, []string{"53100", "57P02"}, server.Code)
	} else {
		require.ErrorContains(t, err, "the connection was lost; nothing of the file is applied")
	}
	resize("1g")
	cluster.Crash() // it has ended itself
	require.NoError(t, cluster.Launch())
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('n')"))
	_, err = migrator(t, address, files).Up(context.Background())
	require.NoError(t, err)
	assert.Equal(t, "400000", pgtest.Value(t, address, "SELECT count(*) FROM t"))
}
