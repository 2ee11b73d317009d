package migrations

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// The matrix: a migrator dies at every point at which it can, and the next one goes on. A point lies before each message of
// the protocol, in either direction, so "between commit and reply" and "between two statements" are among them; what lies
// within a message changes nothing that the server or the migrator does.

// matrixFolder has a migration of every kind. log tells what was done twice.
func matrixFolder() fstest.MapFS {
	return pgtest.Files(
		"1_tables.up.sql", `CREATE TABLE log (what text); CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g, g FROM generate_series(1, 100) g;
			CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO log VALUES ('1')`,
		"1_tables.down.sql", "DROP TABLE p, p1, t, log",
		"2_column.up.sql", "ALTER TABLE t ADD COLUMN c int;\nUPDATE t SET c = a + 1;\nINSERT INTO log VALUES ('2');\n-- deploy: verify SELECT count(*) = 100 FROM t WHERE c IS NOT NULL",
		"2_column.down.sql", "ALTER TABLE t DROP COLUMN c; INSERT INTO log VALUES ('2 back')",
		"3_indexes.up.sql", "CREATE INDEX CONCURRENTLY i ON t (a);\nCREATE UNIQUE INDEX CONCURRENTLY ON t (b);",
		"3_indexes.down.sql", "DROP INDEX CONCURRENTLY t_b_idx;\nDROP INDEX CONCURRENTLY i;",
		"4_steps.up.sql", "-- deploy: no-transaction\nINSERT INTO log VALUES ('4.1');\nUPDATE t SET a = a + 1;\nVACUUM t;\nREINDEX TABLE CONCURRENTLY t;\nALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;\nINSERT INTO log VALUES ('4.6');",
		"4_steps.down.sql", "-- deploy: no-transaction\nINSERT INTO log VALUES ('4.1 back');\nUPDATE t SET a = a - 1;\nALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10);",
		"5_batches.up.sql", "-- deploy: backfill t by id batch 40\nUPDATE t SET b = b + 1000 WHERE id BETWEEN $1 AND $2",
		"5_batches.down.sql", "UPDATE t SET b = b - 1000",
		"6_last.up.sql", "CREATE TABLE last (); INSERT INTO log VALUES ('6')",
		"6_last.down.sql", "DROP TABLE last; INSERT INTO log VALUES ('6 back')",
	)
}

// childVariable makes the test binary a migrator: "up" or "down", a blank, and the database's URL.
const childVariable = "PIPELINE_TEST_MIGRATOR"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		way, address, _ := strings.Cut(job, " ")
		if err := runMatrix(way, address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	pgtest.Main(m)
}

func runMatrix(way, address string) error {
	m, err := New(Options{URL: address, FS: matrixFolder(), Folder: folder.Options{Dir: "m"}, LockTimeout: time.Second, LockWait: time.Minute, RetryBudget: time.Minute})
	if err != nil {
		return err
	}
	if way == "down" {
		_, err = m.Down(context.Background(), history.NoVersion)
	} else {
		_, err = m.Up(context.Background())
	}
	return err
}

// signature is what a database is: schema and data, but for indexes whose build was interrupted, which the next run removes.
// A catalog snapshot says more, and takes ten times as long.
func signature(t testing.TB, address string) string {
	t.Helper()
	schema := pgtest.Value(t, address, `SELECT md5(coalesce(string_agg(line, E'\n' ORDER BY line), '')) FROM (
		SELECT concat_ws(' ', c.relname, c.relkind, pg_get_expr(c.relpartbound, c.oid), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) AS line
			FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
		UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
			WHERE c.relnamespace = 'public'::regnamespace AND indisvalid AND c.relname NOT LIKE '%\_ccnew%'
		UNION ALL SELECT concat_ws(' ', inhrelid::regclass, inhparent::regclass, inhdetachpending) FROM pg_inherits
			WHERE inhrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'p'))) all_of_it
		WHERE line NOT LIKE '%deploy\_%' AND line NOT LIKE '%schema\_migrations%'`)
	data := "nothing"
	if pgtest.Value(t, address, "SELECT to_regclass('log')") != "NULL" {
		data = pgtest.Value(t, address, "SELECT (SELECT coalesce(string_agg(what, ', ' ORDER BY ctid), '') FROM log) || '; ' || (SELECT sum(a) || ' ' || sum(b) FROM t)")
	}
	return schema[:12] + " " + data
}

// units are the signatures after each thing that is committed by itself on the way up: a file, a statement of a file that
// runs outside a transaction, a batch.
func units(t testing.TB) []string {
	t.Helper()
	address := pgtest.Database(t)
	empty(t, address)
	list := []string{signature(t, address)}
	for _, files := range [][]string{
		{"1_tables"}, {"2_column"}, {"3_indexes"}, {"4_steps"}, {"5_batches"}, {"6_last"},
	} {
		body := string(matrixFolder()["m/"+files[0]+".up.sql"].Data)
		switch files[0] {
		case "3_indexes", "4_steps":
			for _, sql := range strings.Split(body, ";\n") {
				pgtest.Exec(t, address, sql)
				list = append(list, signature(t, address))
			}
		case "5_batches":
			for id := 1; id <= 100; id++ { // a batch ends anywhere: its size follows the time that it takes
				pgtest.Exec(t, address, strings.NewReplacer("$1", fmt.Sprint(id), "$2", fmt.Sprint(id)).Replace(body))
				list = append(list, signature(t, address))
			}
		default:
			pgtest.Exec(t, address, "BEGIN;"+body+"\n;COMMIT")
			list = append(list, signature(t, address))
		}
	}
	return list
}

// empty empties a database, which takes a fraction of what making one does.
func empty(t testing.TB, address string) {
	t.Helper()
	pgtest.Exec(t, address, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
}

// settle waits until nobody but the test is connected to a database: a server notices a client's death at its next word.
func settle(t testing.TB, address string) {
	t.Helper()
	pgtest.Eventually(t, address, "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())")
}

// truthful checks that the history says neither more nor less than what is there.
func truthful(t testing.TB, address string) {
	t.Helper()
	conn := pgtest.Session(t, address)
	defer conn.Close(context.Background())
	tables, err := history.Find(context.Background(), conn)
	require.NoError(t, err)
	entries, err := tables.Read(context.Background(), conn)
	require.NoError(t, err)
	version, dirty, err := tables.ReadVersion(context.Background(), conn)
	require.NoError(t, err)
	applied := history.InForce(entries)
	exists := func(relation string) bool {
		return pgtest.Value(t, address, "SELECT to_regclass('"+relation+"')") != "NULL"
	}
	for v, sign := range map[int64]string{1: "log", 6: "last"} {
		_, said := applied[v]
		require.Equal(t, exists(sign), said, "history and schema disagree on version %d", v)
	}
	if !dirty {
		highest := history.NoVersion
		for v := range applied {
			highest = max(highest, v)
		}
		require.Equal(t, highest, version, "history and schema_migrations disagree")
	}
}

// killed runs a migrator in a process of its own and kills it with SIGKILL before message n. It reports whether there was
// such a message.
func killed(t testing.TB, way, address string, n int) bool {
	t.Helper()
	var child *exec.Cmd
	reached := false
	proxy := pgtest.NewProxy(t, address, func(m pgtest.Message) pgtest.Verdict {
		switch {
		case reached:
			return pgtest.Cut
		case m.Conn > 1 || m.Number < n: // others watch
			return pgtest.Pass
		}
		reached = true
		_ = child.Process.Signal(syscall.SIGKILL)
		_ = child.Wait()
		return pgtest.Cut
	})
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+way+" "+proxy.URL(t, address))
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := child.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	said := make([]byte, 4096)
	k, _ := out.Read(said)
	err = child.Wait()
	proxy.Close()
	if !reached {
		require.NoError(t, err, "%s", said[:k])
	}
	return reached
}

// cut runs a migrator in this process and cuts its connection before message n. What it says must be true.
func cut(t testing.TB, way, address string, n int) bool {
	t.Helper()
	reached := false
	proxy := pgtest.NewProxy(t, address, func(m pgtest.Message) pgtest.Verdict {
		if m.Conn == 1 && m.Number == n {
			reached = true
			return pgtest.Cut
		}
		return pgtest.Pass
	})
	err := runMatrix(way, proxy.URL(t, address))
	proxy.Close()
	if !reached {
		require.NoError(t, err)
	}
	var server interface{ SafeToRetry() bool }
	if err != nil && !errors.As(err, &server) {
		require.NotContains(t, err.Error(), pgtest.Password)
	}
	return reached
}

// matrix tries every point from 1 on, each on a database as start leaves it.
func matrix(t *testing.T, way string, start func(testing.TB, string), die func(testing.TB, string, string, int) bool, known []string, end string) {
	address := pgtest.Database(t)
	between, n := 0, 1
	for reached := true; reached; n++ {
		settle(t, address)
		empty(t, address)
		start(t, address)
		reached = die(t, way, address, n)
		settle(t, address)
		if now := signature(t, address); !slices.Contains(known, now) {
			between++
			t.Errorf("point %d leaves what is neither before nor after: %s", n, now)
		}
		truthful(t, address)
		if err := runMatrix(way, address); err != nil {
			t.Fatalf("point %d: the next run does not go on: %v", n, err)
		}
		require.Equal(t, end, signature(t, address), "point %d: the next run ends elsewhere", n)
		require.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "point %d", n)
	}
	t.Logf("%s: %d points, schema between states: %d", t.Name(), n-2, between)
}

func TestKillMatrix(t *testing.T) {
	known := units(t)
	full := pgtest.Database(t)
	empty(t, full)
	require.NoError(t, runMatrix("up", full))
	top := signature(t, full)
	require.Equal(t, known[len(known)-1], top)
	ways := downUnits(t, full)
	bottom := ways[len(ways)-1]
	nothing := func(testing.TB, string) {}
	everything := func(t testing.TB, address string) { require.NoError(t, runMatrix("up", address)) }
	for name, die := range map[string]func(testing.TB, string, string, int) bool{"killed": killed, "connection cut": cut} {
		t.Run(name+" on the way up", func(t *testing.T) { t.Parallel(); matrix(t, "up", nothing, die, known, top) })
		t.Run(name+" on the way down", func(t *testing.T) { t.Parallel(); matrix(t, "down", everything, die, ways, bottom) })
	}
}

// downUnits are the signatures on the way down.
func downUnits(t testing.TB, full string) []string {
	t.Helper()
	address := pgtest.Copy(t, full)
	list := []string{signature(t, address)}
	for _, name := range []string{"6_last", "5_batches", "4_steps", "3_indexes", "2_column", "1_tables"} {
		body := string(matrixFolder()["m/"+name+".down.sql"].Data)
		if strings.Contains(body, ";\n") {
			for _, sql := range strings.Split(body, ";\n") {
				pgtest.Exec(t, address, sql)
				list = append(list, signature(t, address))
			}
			continue
		}
		pgtest.Exec(t, address, "BEGIN;"+body+";COMMIT")
		list = append(list, signature(t, address))
	}
	return list
}
