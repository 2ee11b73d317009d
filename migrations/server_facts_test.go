package migrations

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// What PostgreSQL does, and the pipeline is built on. When one of these tests fails on a new version, look at what relies on it:
// facts_test.go names the fact.

// factRows are enough for the work on them to show over that on the catalog.
const factRows = 20_000

const factTable = `
	CREATE TABLE t (id bigint PRIMARY KEY, a int, v varchar(50), tx text, ts timestamp, num numeric(10,2), payload text);
	INSERT INTO t SELECT g, g % 1000, 'v' || g, 't' || g, now(), g % 77, repeat('x', 100) FROM generate_series(1, 20000) g;
	CREATE INDEX t_a ON t (a);
	CREATE TABLE p (id bigint PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 999);
	ANALYZE t; ANALYZE p;
	CREATE TABLE rewritten (relation oid);
	CREATE FUNCTION note_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO rewritten VALUES (pg_event_trigger_table_rewrite_oid()); END';
	CREATE EVENT TRIGGER note ON table_rewrite EXECUTE FUNCTION note_rewrite();`

// factQuery is what can be measured of a statement within its transaction.
const factQuery = `SELECT pg_relation_filenode('t')::bigint, coalesce((SELECT seq_tup_read FROM pg_stat_xact_all_tables WHERE relid = 't'::regclass), 0),
	pg_current_wal_insert_lsn() - '0/0', (SELECT count(*) FROM rewritten),
	coalesce((SELECT string_agg(DISTINCT relation::regclass || ' ' || replace(mode, 'Lock', ''), ', ') FROM pg_locks
		WHERE pid = pg_backend_pid() AND relation IN ('t'::regclass, 'p'::regclass) AND mode NOT IN ('AccessShareLock', 'RowShareLock')), '')`

type factMoment struct {
	file, read, log, events int64
	locks                   string
}

func momentOf(t testing.TB, conn *pgx.Conn) (m factMoment) {
	t.Helper()
	require.NoError(t, conn.QueryRow(context.Background(), factQuery).Scan(&m.file, &m.read, &m.log, &m.events, &m.locks))
	return m
}

func TestWhatAStatementDoesToItsTable(t *testing.T) {
	const (
		alone         = "t AccessExclusive"
		rebuilt       = "t AccessExclusive, t Share" // and its indexes, as by CREATE INDEX
		once          = factRows
		several       = -1 // for each index is built again
		table   int64 = factRows * 100
		little  int64 = 60_000
	)
	tests := []struct {
		before, statement string
		rewritten         bool // has another file
		tells             bool // the event table_rewrite
		scanned           int64
		locks             string
		least, most       int64 // bytes of write-ahead log
	}{
		{"", "ALTER TABLE t ADD COLUMN n int DEFAULT 3 NOT NULL", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t ADD COLUMN n timestamptz DEFAULT now()", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t ADD COLUMN n timestamptz DEFAULT clock_timestamp()", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ADD COLUMN n uuid DEFAULT gen_random_uuid()", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ADD COLUMN n bigserial", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ADD COLUMN n int GENERATED ALWAYS AS (a * 2) STORED", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ALTER a TYPE bigint", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ALTER v TYPE varchar(20)", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ALTER tx TYPE varchar(100)", true, true, several, rebuilt, table, 10 * table},
		{"", "ALTER TABLE t ALTER num TYPE numeric(12,3)", true, true, several, rebuilt, table, 10 * table},
		{"SET LOCAL timezone = 'Europe/Berlin'", "ALTER TABLE t ALTER ts TYPE timestamptz", true, true, several, rebuilt, table, 10 * table},
		{"SET LOCAL timezone = 'UTC'", "ALTER TABLE t ALTER ts TYPE timestamptz", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t ALTER v TYPE varchar(100)", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t ALTER v TYPE text", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t ALTER num TYPE numeric(12,2)", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t ALTER a SET NOT NULL", false, false, once, alone, 0, little},
		{"", "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL)", false, false, once, alone, 0, little},
		{"", "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID", false, false, 0, alone, 0, little},
		{"ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID; COMMIT; BEGIN", "ALTER TABLE t VALIDATE CONSTRAINT c", false, false, once, "t ShareUpdateExclusive", 0, little},
		{"ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT; BEGIN", "ALTER TABLE t ALTER a SET NOT NULL", false, false, 0, alone, 0, little},
		{"ALTER TABLE t DROP CONSTRAINT c; COMMIT; BEGIN", "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES p (id)", false, false, once, "p ShareRowExclusive, t ShareRowExclusive", 0, little},
		{"", "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES p (id) NOT VALID", false, false, 0, "p ShareRowExclusive, t ShareRowExclusive", 0, little},
		{"", "CREATE INDEX i ON t (ts)", false, false, once, "t Share", factRows * 4, 5 * table},
		{"", "ALTER TABLE t ADD UNIQUE (tx)", false, false, once, "t AccessExclusive, t Share", factRows * 4, 5 * table},
		{"", "UPDATE t SET a = a + 0 WHERE id <= 1000", false, false, 0, "t RowExclusive", 1000 * 100, 1000 * 2000},
		{"", "DROP INDEX t_a", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t DROP COLUMN payload", false, false, 0, alone, 0, little},
		{"", "ALTER TABLE t RENAME COLUMN v TO w", false, false, 0, alone, 0, little},
		{"", "TRUNCATE t", true, false, 0, rebuilt, 0, little},
		{"", "CLUSTER t USING t_a", true, false, several, rebuilt, table, 10 * table},
	}
	address := pgtest.Database(t)
	pgtest.Exec(t, address, factTable)
	conn := pgtest.Session(t, address)
	for _, tt := range tests {
		t.Run(tt.statement, func(t *testing.T) {
			_, err := conn.Exec(context.Background(), "BEGIN; SET LOCAL max_parallel_maintenance_workers = 0; SET LOCAL max_parallel_workers_per_gather = 0; "+tt.before, pgtest.Simply)
			require.NoError(t, err)
			was := momentOf(t, conn)
			_, err = conn.Exec(context.Background(), tt.statement, pgtest.Simply)
			require.NoError(t, err)
			is := momentOf(t, conn)
			_, err = conn.Exec(context.Background(), "ROLLBACK", pgtest.Simply)
			require.NoError(t, err)
			assert.Equal(t, tt.rewritten, was.file != is.file, "another file")
			assert.Equal(t, tt.tells, was.events != is.events, "the event table_rewrite")
			if tt.scanned == several {
				assert.GreaterOrEqual(t, is.read-was.read, int64(factRows))
			} else {
				assert.Equal(t, tt.scanned, is.read-was.read, "rows that are scanned")
			}
			assert.Equal(t, tt.locks, is.locks)
			assert.GreaterOrEqual(t, is.log-was.log, tt.least, "write-ahead log")
			assert.LessOrEqual(t, is.log-was.log, tt.most, "write-ahead log")
		})
	}
}

func TestWhoWaitsWhileAStatementRuns(t *testing.T) {
	tests := []struct {
		statement   string
		read, write bool // are possible meanwhile
	}{
		{"ALTER TABLE t ALTER a TYPE bigint", false, false},
		{"ALTER TABLE t ADD CHECK (a > 0)", false, false},
		{"CREATE INDEX i ON t (a)", true, false},
		{"CREATE INDEX CONCURRENTLY i ON t (a)", true, true},
	}
	for _, tt := range tests {
		t.Run(tt.statement, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
			conn := pgtest.Session(t, address)
			ended := make(chan error, 1)
			finish := func() {}
			if strings.Contains(tt.statement, "CONCURRENTLY") {
				writer := pgtest.Session(t, address)
				_, err := writer.Exec(context.Background(), "BEGIN; INSERT INTO t VALUES (2)", pgtest.Simply) // so that it is at work as long as we look
				require.NoError(t, err)
				finish = func() { _, _ = writer.Exec(context.Background(), "COMMIT") }
				go func() {
					_, err := conn.Exec(context.Background(), tt.statement)
					ended <- err
				}()
				pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_stat_progress_create_index WHERE relid = 't'::regclass AND lockers_total > 0)")
			} else {
				_, err := conn.Exec(context.Background(), "BEGIN; "+tt.statement, pgtest.Simply)
				ended <- err
			}
			other := pgtest.Session(t, address)
			for mode, possible := range map[string]bool{"ACCESS SHARE": tt.read, "ROW EXCLUSIVE": tt.write} {
				_, err := other.Exec(context.Background(), "BEGIN; LOCK TABLE t IN "+mode+" MODE NOWAIT; ROLLBACK", pgtest.Simply)
				if possible {
					assert.NoError(t, err, mode)
				} else {
					assertCode(t, err, "55P03")
					_, err = other.Exec(context.Background(), "ROLLBACK")
					require.NoError(t, err)
				}
			}
			finish()
			require.NoError(t, <-ended)
		})
	}
}

func TestEventTriggerNeedsASuperuser(t *testing.T) {
	address := pgtest.Database(t)
	name, mine := role(t, address)
	pgtest.Exec(t, address, "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; GRANT ALL ON DATABASE "+databaseName(address)+" TO "+name+"; ALTER SCHEMA public OWNER TO "+name)
	_, err := pgtest.Session(t, mine).Exec(context.Background(), "CREATE EVENT TRIGGER note ON table_rewrite EXECUTE FUNCTION note()")
	assertCode(t, err, "42501")
}

func TestRestoredDatabaseHasNoStatistics(t *testing.T) {
	tools := pgtest.NewDumper(t)
	const statistics = "SELECT count(*) FROM pg_stats WHERE schemaname = 'public'"
	address, restored := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS a, g % 7 AS b FROM generate_series(1, 1000) g; ANALYZE t")
	exporter := pgtest.Session(t, address)
	var snapshot string
	_, err := exporter.Exec(context.Background(), "BEGIN ISOLATION LEVEL REPEATABLE READ")
	require.NoError(t, err)
	require.NoError(t, exporter.QueryRow(context.Background(), "SELECT pg_export_snapshot()").Scan(&snapshot))
	file, err := os.CreateTemp(t.TempDir(), "dump")
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, tools.Dump(context.Background(), address, snapshot, file))
	_, err = file.Seek(0, 0)
	require.NoError(t, err)
	require.NoError(t, tools.Restore(context.Background(), restored, file))
	require.NoError(t, exporter.Close(context.Background()))
	assert.Equal(t, "1000", pgtest.Value(t, restored, "SELECT count(*) FROM t"))
	assert.Equal(t, "0", pgtest.Value(t, restored, statistics))
	assert.Equal(t, "2", pgtest.Value(t, pgtest.Copy(t, address), statistics), "a copy by TEMPLATE has them")
}

func TestListingADumpIsNoVerification(t *testing.T) {
	dump, restore := pgtest.Binary(t, "pg_dump"), pgtest.Binary(t, "pg_restore")
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 20000) g")
	file := filepath.Join(t.TempDir(), "dump")
	require.NoError(t, exec.Command(dump, "-Fc", "-f", file, "-d", address).Run())
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 0xff
	for name, body := range map[string][]byte{"whole": whole, "truncated": whole[:len(whole)*2/3], "with a byte flipped": flipped} {
		require.NoError(t, os.WriteFile(file, body, 0o600))
		require.NoError(t, exec.Command(restore, "-l", file).Run(), name)
		err := exec.Command(restore, "-f", os.DevNull, file).Run()
		assert.Equal(t, name == "whole", err == nil, "%s, read to the end: %v", name, err)
	}
}

func TestDumpOfASchemaIsTheSameButForItsKey(t *testing.T) {
	dump := pgtest.Binary(t, "pg_dump")
	help, err := exec.Command(dump, "--help").Output()
	require.NoError(t, err)
	if !strings.Contains(string(help), "--restrict-key") {
		t.Skipf("%s is older than the key (15.14, 16.10, 17.6), so there is nothing to leave out", dump)
	}
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'x'); CREATE VIEW v AS SELECT a FROM t")
	text := func(args ...string) string {
		out, err := exec.Command(dump, append(args, "-s", "-d", address)...).Output()
		require.NoError(t, err)
		return string(out)
	}
	withoutKey := func(dump string) (kept []string) {
		for _, line := range strings.Split(dump, "\n") {
			if !strings.HasPrefix(line, `\restrict `) && !strings.HasPrefix(line, `\unrestrict `) {
				kept = append(kept, line)
			}
		}
		return kept
	}
	one, other := text(), text()
	assert.NotEqual(t, one, other)
	assert.Equal(t, withoutKey(one), withoutKey(other))
	assert.Equal(t, text("--restrict-key=x"), text("--restrict-key=x"))
}

func TestSumKeepsPairsOfEqualRowsThatAnExclusiveOrLoses(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int, b text, j json); INSERT INTO t VALUES (1, 'a', '1'), (1, 'a', '1'), (2, 'b', '2')")
	fold := func(aggregate string) string {
		return pgtest.Value(t, address, "SELECT "+aggregate+" FROM t")
	}
	or, sum := fold("bit_xor(hash_record_extended(ROW(a, b), 0))"), fold("sum(hash_record_extended(ROW(a, b), 0)::numeric)")
	pgtest.Exec(t, address, "DELETE FROM t WHERE a = 1")
	assert.Equal(t, or, fold("bit_xor(hash_record_extended(ROW(a, b), 0))"))
	assert.NotEqual(t, sum, fold("sum(hash_record_extended(ROW(a, b), 0)::numeric)"))
	_, err := pgtest.Session(t, address).Exec(context.Background(), "SELECT hash_record_extended(t, 0) FROM t")
	assertCode(t, err, "42883") // json has no hash
	assert.NotEmpty(t, fold("sum(hashtextextended(t::text, 0)::numeric)"), "its text has")
}

func TestQueryIsCountedAnewWhenItsTableIs(t *testing.T) {
	address := pgtest.Database(t)
	const query = "SELECT a FROM t WHERE a = 1"
	counted := "SELECT count(DISTINCT queryid) FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query LIKE 'SELECT a FROM t WHERE a = %'"
	pgtest.Exec(t, address, "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (a int)")
	pgtest.Exec(t, address, query)
	pgtest.Exec(t, address, "ALTER TABLE t ADD COLUMN b int")
	pgtest.Exec(t, address, query)
	require.Equal(t, "1", pgtest.Value(t, address, counted), "a column more changes nothing")
	pgtest.Exec(t, address, "DROP TABLE t; CREATE TABLE t (a int)")
	pgtest.Exec(t, address, query)
	want := "2"
	if pgtest.Major(t, address) >= 18 { // there a table is told by its name
		want = "1"
	}
	assert.Equal(t, want, pgtest.Value(t, address, counted), "although the text is the same")
}

func TestTypesOfParametersAreKnownAndChange(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 5000) g; CREATE INDEX i ON t (a); ANALYZE t")
	types := func() (types string) {
		conn := pgtest.Session(t, address)
		_, err := conn.Exec(context.Background(), "PREPARE q AS SELECT * FROM t WHERE a = $1", pgtest.Simply)
		require.NoError(t, err)
		require.NoError(t, conn.QueryRow(context.Background(), "SELECT parameter_types::text FROM pg_prepared_statements WHERE name = 'q'").Scan(&types))
		return types
	}
	assert.Equal(t, "{integer}", types())
	conn := pgtest.Session(t, address)
	_, err := conn.Exec(context.Background(), "PREPARE q AS SELECT * FROM t WHERE a = $1; SET plan_cache_mode = force_generic_plan", pgtest.Simply)
	require.NoError(t, err)
	assert.Contains(t, explained(t, conn, "EXPLAIN (FORMAT JSON) EXECUTE q(NULL)"), `(a = $1)`, "the plan for any value, without one")
	pgtest.Exec(t, address, "ALTER TABLE t ALTER a TYPE bigint")
	assert.Equal(t, "{bigint}", types())
	_, err = conn.Exec(context.Background(), "PREPARE r AS SELECT now() - interval $1", pgtest.Simply)
	assertCode(t, err, "42601")
}

// explained is a plan as PostgreSQL gives it.
func explained(t testing.TB, conn *pgx.Conn, query string) string {
	t.Helper()
	var plan json.RawMessage
	require.NoError(t, conn.QueryRow(context.Background(), query, pgtest.Simply).Scan(&plan))
	return string(plan)
}

func TestStatisticsAreLostWithATypeAndMissingForAnExpression(t *testing.T) {
	address := pgtest.Database(t)
	const known = "SELECT count(*) FROM pg_stats WHERE (tablename, attname) IN (('t', 'a'), ('i', 'upper'))"
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g % 9 AS a, 'x' || g AS b FROM generate_series(1, 1000) g; CREATE INDEX i ON t (upper(b))")
	assert.Equal(t, "0", pgtest.Value(t, address, known))
	pgtest.Exec(t, address, "ANALYZE t")
	assert.Equal(t, "2", pgtest.Value(t, address, known))
	pgtest.Exec(t, address, "ALTER TABLE t ALTER a TYPE bigint; DROP INDEX i; CREATE INDEX i ON t (upper(b))")
	assert.Equal(t, "0", pgtest.Value(t, address, known))
	pgtest.Exec(t, address, "ANALYZE t")
	assert.Equal(t, "2", pgtest.Value(t, address, known))
}

func TestCostsMoveWithTheSampleOfAnalyze(t *testing.T) {
	address := pgtest.Database(t)
	conn := pgtest.Session(t, address)
	_, err := conn.Exec(context.Background(), "CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 20000) g; SET default_statistics_target = 1", pgtest.Simply) // a sample of 300 rows
	require.NoError(t, err)
	seen := map[string]bool{}
	for range 50 {
		_, err := conn.Exec(context.Background(), "ANALYZE t")
		require.NoError(t, err)
		if seen[explained(t, conn, "EXPLAIN (FORMAT JSON) SELECT * FROM t WHERE a < 10000")] = true; len(seen) > 1 {
			return
		}
	}
	t.Error(fmt.Sprint("fifty samples gave one plan: ", seen))
}
