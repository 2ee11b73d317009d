package backfill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

const version = 7

// count is the statement that shows how often a row was changed; guarded is one that leaves alone what is done.
const (
	count   = "-- deploy: backfill t by k batch 3\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2"
	guarded = "-- deploy: backfill t by k batch 3\nUPDATE t SET n = 1 WHERE k BETWEEN $1 AND $2 AND n IS DISTINCT FROM 1"
)

// options are for the file m/7_fill.up.sql with this text.
func options(t testing.TB, address, text string) Options {
	t.Helper()
	s, err := script.Parse("m/7_fill.up.sql", text)
	require.NoError(t, err)
	return Options{Schema: "public", Version: version, Name: "fill", Script: s, URL: address}
}

func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pg.Connect(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// empty removes what a test before has made: it is quicker than another database.
func empty(t testing.TB, address string) {
	t.Helper()
	pgtest.Exec(t, address, `DROP SCHEMA IF EXISTS public, app, "Odd ""Schema" CASCADE; DROP FOREIGN DATA WRAPPER IF EXISTS w CASCADE; CREATE SCHEMA public`)
}

// listed is what others see of the backfill.
func listed(t testing.TB, address string) Progress {
	t.Helper()
	list, err := List(context.Background(), connect(t, address), "public")
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

func TestEveryRowIsChangedOnceWhateverTheKeyIs(t *testing.T) {
	address := pgtest.Database(t)
	for _, tt := range []struct{ name, before, kind, keys, set, bounds string }{
		{name: "integers with gaps and duplicates, some negative", kind: "int", keys: "SELECT g * 7 % 40 - 20 FROM generate_series(1, 60) g"},
		{name: "the ends of bigint", kind: "bigint", keys: "SELECT unnest(ARRAY['-9223372036854775808', '9223372036854775807', '0', '9223372036854775807']::bigint[])"},
		{name: "an integer that the statement casts", kind: "int", keys: "SELECT generate_series(1, 10)", bounds: "k BETWEEN $1::bigint AND $2::numeric(10, 2)"},
		{name: "one row", kind: "int", keys: "SELECT 0"},
		{name: "no row", kind: "int", keys: "SELECT 1 WHERE false"},
		{name: "rows of one key, more than a batch", kind: "int", keys: "SELECT 5 FROM generate_series(1, 10)"},
		{name: "numeric with NaN and many digits", kind: "numeric", keys: "SELECT unnest(ARRAY['NaN', '0.1', '0.10', '-1e100', '1e-100', '123456789012345678901234567890.12345']::numeric[])"},
		{name: "floats whose text is not exact", kind: "float8", keys: "SELECT unnest(ARRAY['0.1', '0.2', 'NaN', 'Infinity', '-Infinity']::float8[]) UNION ALL SELECT 0.3::float8 + i * 1e-16 FROM generate_series(0, 9) i", set: "SET extra_float_digits = -15"},
		{name: "text with odd characters", kind: "text", keys: `SELECT unnest(ARRAY['', ' ', 'it''s', E'a\\b', E'a\nb', 'é', 'z', 'Z', '😀', '{"a": 1}', 'NULL', repeat('x', 500)])`},
		{name: "text in the order of another collation", kind: `text COLLATE "en-x-icu"`, keys: "SELECT unnest(ARRAY['a', 'B', 'c', 'A', 'b', 'ä', 'Z', 'z', '_'])"},
		{name: "text that is equal although it differs", before: "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", kind: "text COLLATE ci", keys: "SELECT unnest(ARRAY['a', 'A', 'b', 'B', 'a', 'C', 'c', 'B'])"},
		{name: "varchar", kind: "varchar(5)", keys: "SELECT g::text FROM generate_series(1, 20) g"},
		{name: "char, padded", kind: "char(5)", keys: "SELECT g::text FROM generate_series(1, 20) g"},
		{name: "name", kind: "name", keys: "SELECT ('n' || g)::name FROM generate_series(1, 20) g"},
		{name: "uuid", kind: "uuid", keys: "SELECT gen_random_uuid() FROM generate_series(1, 50)"},
		{name: "times, in a session that writes them in another way", kind: "timestamptz", keys: "SELECT '2024-10-27 00:00Z'::timestamptz + g * interval '10 minutes 1 microsecond' FROM generate_series(1, 30) g UNION ALL SELECT unnest(ARRAY['infinity', '-infinity', '0044-03-15 BC', '20000-01-02']::timestamptz[])",
			set: "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Europe/Berlin'"},
		{name: "dates", kind: "date", keys: "SELECT '2024-01-31'::date + g FROM generate_series(1, 30) g", set: "SET DateStyle = 'German'"},
		{name: "intervals", kind: "interval", keys: "SELECT g * interval '-1 day 2 hours' FROM generate_series(-5, 15) g", set: "SET IntervalStyle = 'sql_standard'"},
		{name: "an enumeration, not in the order of its letters", before: "CREATE TYPE mood AS ENUM ('ok', 'bad', 'Good')", kind: "mood", keys: "SELECT (enum_range(NULL::mood))[1 + g % 3] FROM generate_series(1, 10) g"},
		{name: "a domain", before: "CREATE DOMAIN id AS int CHECK (VALUE < 100)", kind: "id", keys: "SELECT generate_series(1, 10)"},
		{name: "bytes", kind: "bytea", keys: `SELECT int4send(g) FROM generate_series(-5, 20) g`, set: "SET bytea_output = 'escape'"},
		{name: "booleans", kind: "boolean", keys: "SELECT g % 2 = 0 FROM generate_series(1, 10) g"},
		{name: "addresses", kind: "inet", keys: "SELECT '10.0.0.0'::inet + g FROM generate_series(250, 260) g"},
		{name: "arrays", kind: "int[]", keys: "SELECT ARRAY[g / 3, g] FROM generate_series(1, 10) g"},
		{name: "a type without a binary form", before: "CREATE EXTENSION isn", kind: "issn13", keys: "SELECT issn13(make_issn) FROM (SELECT ('977000000' || lpad(g::text, 3, '0') || '?')::issn13 AS make_issn FROM generate_series(1, 20) g) i"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			empty(t, address)
			pgtest.Exec(t, address, tt.before+"; CREATE TABLE t (k "+tt.kind+" NOT NULL, n int NOT NULL DEFAULT 0); INSERT INTO t "+tt.keys+"; CREATE INDEX ON t (k DESC)")
			rows := pgtest.Value(t, address, "SELECT count(*) FROM t")
			conn := connect(t, address)
			_, err := conn.Exec(context.Background(), tt.set, pgtest.Simply)
			require.NoError(t, err)
			text := count
			if tt.bounds != "" {
				text = strings.Replace(count, "k BETWEEN $1 AND $2", tt.bounds, 1)
			}
			p, err := Run(context.Background(), conn, options(t, address, text))
			require.NoError(t, err)
			assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM t WHERE n <> 1"))
			assert.Equal(t, rows, fmt.Sprint(p.Done))
			assert.Equal(t, Done, p.State)
			assert.InDelta(t, 1, p.Fraction, 0)
			assert.Equal(t, p.Done > 0, p.Once)
			assert.Equal(t, p, listed(t, address))
		})
	}
}

func TestEveryRowIsChangedOnceWhateverTheBatchIs(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int NOT NULL, n int NOT NULL DEFAULT 0); CREATE INDEX ON t (k)")
	conn := connect(t, address)
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		rows, spread := random.IntN(60), 1+random.IntN(80)
		_, err := conn.Exec(context.Background(), fmt.Sprintf("TRUNCATE t; INSERT INTO t SELECT hashint4(g * 1000 + %d) %% %d FROM generate_series(1, %d) g", seed, spread, rows), pgtest.Simply)
		require.NoError(t, err)
		o := options(t, address, strings.Replace(count, "batch 3", fmt.Sprintf("batch %d", 1+random.IntN(12)), 1))
		o.Version = int64(seed)
		p, err := Run(context.Background(), conn, o)
		require.NoError(t, err)
		require.Equal(t, int64(rows), p.Done)
		require.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM t WHERE n <> 1"), "seed %d", seed)
	}
}

func TestTableIsFoundAsTheSessionNamesIt(t *testing.T) {
	address := pgtest.Database(t)
	for _, tt := range []struct{ name, make, declared, statement, changed string }{
		{"quoted and qualified", `CREATE SCHEMA "Odd ""Schema"; CREATE TABLE "Odd ""Schema"."T t" ("The ""Key" int PRIMARY KEY, n int DEFAULT 0); INSERT INTO "Odd ""Schema"."T t" SELECT generate_series(1, 20)`,
			`"Odd ""Schema"."T t" by "The ""Key"`, `UPDATE "Odd ""Schema"."T t" SET n = n + 1 WHERE "The ""Key" BETWEEN $1 AND $2`, `SELECT sum(n) FROM "Odd ""Schema"."T t"`},
		{"by the search path", "CREATE SCHEMA app; CREATE TABLE public.u (k int PRIMARY KEY, n int); CREATE TABLE app.u (k int PRIMARY KEY, n int DEFAULT 0); INSERT INTO app.u SELECT generate_series(1, 20)",
			"u by k", "UPDATE u SET n = n + 1 WHERE k BETWEEN $1 AND $2", "SELECT sum(n) FROM app.u"},
		{"partitioned, over two levels", `CREATE TABLE p (k int NOT NULL, n int DEFAULT 0) PARTITION BY HASH (k); CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0) PARTITION BY RANGE (k);
			CREATE TABLE p00 PARTITION OF p0 FOR VALUES FROM (0) TO (10); CREATE TABLE p01 PARTITION OF p0 DEFAULT; CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); CREATE INDEX ON p (k); INSERT INTO p SELECT generate_series(1, 20)`,
			"p by k", "UPDATE p SET n = n + 1 WHERE k BETWEEN $1 AND $2", "SELECT sum(n) FROM p WHERE n = 1"},
		{"inherited from", "CREATE TABLE i (k int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE j (PRIMARY KEY (k)) INHERITS (i); INSERT INTO i SELECT generate_series(1, 10); INSERT INTO j SELECT generate_series(1, 10)",
			"i by k", "UPDATE i SET n = n + 1 WHERE k BETWEEN $1 AND $2", "SELECT sum(n) FROM i WHERE n = 1"},
		{"read from, while another one is written", "CREATE TABLE a (k int PRIMARY KEY); CREATE TABLE b (k int); INSERT INTO a SELECT generate_series(1, 20)",
			"a by k", "INSERT INTO b SELECT k FROM a WHERE k BETWEEN $1 AND $2", "SELECT count(DISTINCT k) FROM b"},
		{"deleted from", "CREATE TABLE d (k int PRIMARY KEY); INSERT INTO d SELECT generate_series(1, 25)",
			"d by k", "DELETE FROM d WHERE k BETWEEN $1 AND $2 AND k > 5 RETURNING k", "SELECT 25 - count(*) FROM d"},
		{"written under a key that already has a row", "CREATE TABLE a (k int PRIMARY KEY); CREATE TABLE b (k int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 20)",
			"a by k", "INSERT INTO b SELECT k FROM a WHERE k BETWEEN $1 AND $2", "SELECT count(*) FROM b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			empty(t, address)
			pgtest.Exec(t, address, tt.make)
			conn := connect(t, address)
			_, err := conn.Exec(context.Background(), "SET search_path = nowhere, app, public")
			require.NoError(t, err)
			p, err := Run(context.Background(), conn, options(t, address, "-- deploy: backfill "+tt.declared+" batch 3\n"+tt.statement))
			require.NoError(t, err)
			assert.Equal(t, "20", pgtest.Value(t, address, tt.changed))
			assert.Equal(t, int64(20), p.Done)
		})
	}
}

func TestBackfillIsRefusedBeforeItsFirstBatch(t *testing.T) {
	address := pgtest.Database(t)
	const by = "UPDATE t SET n = 1 WHERE k BETWEEN $1 AND $2"
	for _, tt := range []struct{ name, make, declared, statement, want string }{
		{"no such table", "", "t by k", by, "m/7_fill.up.sql:2: backfill t by k: no such table; the search path is \"$user\", public"},
		{"no name of a table", "", "t..x by k", by, "m/7_fill.up.sql:2: backfill t..x by k: "},
		{"a view", "CREATE VIEW t AS SELECT 1 AS k, 1 AS n", "t by k", by, `m/7_fill.up.sql:2: backfill t by k: "public"."t" is no table`},
		{"no such key", "CREATE TABLE t (n int)", "t by k", by, `m/7_fill.up.sql:2: backfill t by k: "public"."t" has no column "k"`},
		{"a key that may be NULL", "CREATE TABLE t (k int UNIQUE, n int)", "t by k", by,
			`m/7_fill.up.sql:2: backfill t by k: "k" of "public"."t" may be NULL, and such rows are in no batch: choose another key, or make it NOT NULL in a migration before this one`},
		{"no index", "CREATE TABLE t (k int NOT NULL, n int)", "t by k", by,
			`m/7_fill.up.sql:2: backfill t by k: no index of "public"."t" begins with "k", so every batch would read the whole table: CREATE INDEX CONCURRENTLY ON "public"."t" ("k") in a migration before this one`},
		{"an index that begins with another column", "CREATE TABLE t (k int NOT NULL, n int); CREATE INDEX ON t (n, k)", "t by k", by, "no index"},
		{"an index of some rows", "CREATE TABLE t (k int NOT NULL, n int); CREATE INDEX ON t (k) WHERE k > 0", "t by k", by, "no index"},
		{"an index without an order", "CREATE TABLE t (k int NOT NULL, n int); CREATE INDEX ON t USING hash (k)", "t by k", by, "no index"},
		{"an index of an expression", "CREATE TABLE t (k int NOT NULL, n int); CREATE INDEX ON t ((k + 1))", "t by k", by, "no index"},
		{"an index in another order", "CREATE TABLE t (k text NOT NULL, n int); CREATE INDEX ON t (k text_pattern_ops); CREATE INDEX ON t (k COLLATE \"C\")", "t by k", by, "no index"},
		{"an index that is not valid", "CREATE TABLE t (k int NOT NULL, n int); CREATE INDEX i ON t (k); UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'i'::regclass", "t by k", by, "no index"},
		{"a partition without an index", "CREATE TABLE t (k int NOT NULL, n int) PARTITION BY RANGE (k); CREATE TABLE t1 PARTITION OF t DEFAULT; CREATE INDEX ON ONLY t (k)", "t by k", by, `no index of "public"."t1" begins with "k"`},
		{"a foreign partition", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE TABLE t (k int NOT NULL, n int) PARTITION BY RANGE (k); CREATE FOREIGN TABLE t1 PARTITION OF t DEFAULT SERVER s", "t by k", by,
			`"public"."t1" is a foreign table, which does not commit together with the progress`},
		{"a third parameter", "CREATE TABLE t (k int PRIMARY KEY, n int)", "t by k", by + " AND n > $3", "m/7_fill.up.sql:2: backfill t by k: the statement has 3 parameters: a batch is $1 and $2"},
		{"a statement that PostgreSQL does not take", "CREATE TABLE t (k int PRIMARY KEY, n int)", "t by k", "UPDATE t\n  SET m = 1 WHERE k BETWEEN $1 AND $2",
			"m/7_fill.up.sql:4:7: column \"m\" of relation \"t\" does not exist (42703)\n    4 |   SET m = 1 WHERE k BETWEEN $1 AND $2\n      |       ^"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			empty(t, address)
			pgtest.Exec(t, address, tt.make)
			conn := connect(t, address)
			p, err := Run(context.Background(), conn, options(t, address, "\n-- deploy: backfill "+tt.declared+"\n"+tt.statement))
			require.ErrorContains(t, err, tt.want)
			assert.Equal(t, Progress{Version: version, Name: "fill"}, p)
			assert.Equal(t, byte('I'), conn.PgConn().TxStatus(), "no transaction is left open")
			assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM deploy_backfills"))
		})
	}
}

func TestRowLevelSecurityIsNoReasonToLeaveRowsOut(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE t (k int PRIMARY KEY, n int DEFAULT 0); INSERT INTO t VALUES (1), (2); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
		CREATE POLICY half ON t USING (k = 1); GRANT ALL ON t TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC`)
	pgtest.Exec(t, pgtest.Server(t), "DROP ROLE IF EXISTS backfill_guest; CREATE ROLE backfill_guest")
	conn := connect(t, address)
	_, err := conn.Exec(context.Background(), "SET ROLE backfill_guest")
	require.NoError(t, err)
	_, err = Run(context.Background(), conn, options(t, address, count))
	require.ErrorContains(t, err, `row-level security hides rows of "public"."t" from this user`)
}

func TestOptionsWithoutALimitAreRefused(t *testing.T) {
	o := options(t, "postgres://nowhere", count)
	o.MaxBlocked = time.Microsecond
	_, err := Run(context.Background(), nil, o)
	require.EqualError(t, err, "backfill fill: MaxBlocked is 1µs, but there is always a limit, of at least 1ms")
	o = options(t, "postgres://nowhere", "SELECT 1")
	_, err = Run(context.Background(), nil, o)
	require.EqualError(t, err, "backfill fill: the file declares none")
}

// atBatch calls do once, after so many batches.
func atBatch(o *Options, n int64, do func()) {
	o.Observe = func(p Progress) {
		if p.Batches == n && do != nil {
			do()
			do = nil
		}
	}
}

func TestRowsInsertedWhileItRuns(t *testing.T) {
	address := pgtest.Database(t)
	for _, tt := range []struct {
		name, text string
		insert     string // after the second batch, of keys 10 to 60
		left       string
		pass       int
		once       bool
	}{
		{"above the position", guarded, "SELECT generate_series(1000, 1010)", "0", 2, false},
		{"above the position, of a statement that runs once", count, "SELECT generate_series(1000, 1010)", "0", 1, true},
		{"between keys that are to come", guarded, "SELECT 155", "0", 2, false},
		{"below the position", guarded, "SELECT generate_series(-5, 5)", "0", 3, false},
		{"below the position, of a statement that runs once", count, "SELECT generate_series(-5, 5)", "11", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			empty(t, address)
			pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT 10 * g FROM generate_series(1, 20) g")
			o := options(t, address, tt.text)
			atBatch(&o, 2, func() { pgtest.Exec(t, address, "INSERT INTO t "+tt.insert) })
			p, err := Run(context.Background(), connect(t, address), o)
			require.NoError(t, err)
			assert.Equal(t, tt.left, pgtest.Value(t, address, "SELECT count(*) FROM t WHERE n = 0"))
			assert.Equal(t, "1", pgtest.Value(t, address, "SELECT max(n) FROM t"))
			assert.Equal(t, tt.pass, p.Pass)
			assert.Equal(t, tt.once, p.Once)
		})
	}
}

func TestStatementThatWouldChangeItsRowsAgainRunsOnceEvenWhenItsFirstBatchesDoNotShowIt(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, price int NOT NULL); INSERT INTO t SELECT g, CASE WHEN g < 18 THEN 95 ELSE 50 END FROM generate_series(1, 20) g")
	p, err := Run(context.Background(), connect(t, address), options(t, address,
		"-- deploy: backfill t by k batch 3\nUPDATE t SET price = price + 10 WHERE k BETWEEN $1 AND $2 AND price < 100"))
	require.NoError(t, err)
	assert.True(t, p.Once)
	assert.Equal(t, 1, p.Pass)
	assert.Equal(t, "105 60", pgtest.Value(t, address, "SELECT string_agg(DISTINCT price::text, ' ') FROM t"))
}

func TestErrorInABatchSaysWhereAndTheNextRunGoesOn(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0, secret text UNIQUE); INSERT INTO t SELECT g, 0, 'hunter' || g FROM generate_series(1, 20) g; UPDATE t SET secret = 'hunter1!' WHERE k = 10")
	text := "-- deploy: backfill t by k batch 3\nUPDATE t SET n = n + 1,\n  secret = secret || '!' WHERE k BETWEEN $1 AND $2"
	conn := connect(t, address)
	p, err := Run(context.Background(), conn, options(t, address, text))
	var fault *script.Error
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, 2, fault.Line)
	require.ErrorContains(t, err, `duplicate key value violates unique constraint "t_secret_key" (23505)`)
	assert.NotContains(t, err.Error(), "hunter", "no value of a row is shown")
	assert.Equal(t, Failed, p.State)
	assert.Equal(t, err.Error(), p.Error)
	assert.Equal(t, p, listed(t, address))
	assert.Equal(t, fmt.Sprint(p.Done), pgtest.Value(t, address, "SELECT count(*) FROM t WHERE n > 0"))

	pgtest.Exec(t, address, "UPDATE t SET secret = 'other' WHERE k = 10")
	p, err = Run(context.Background(), conn, options(t, address, text))
	require.NoError(t, err)
	assert.Equal(t, int64(20), p.Done)
	assert.Empty(t, p.Error)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"))
}

func TestConstraintThatIsCheckedAtCommitUndoesTheBatch(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int DEFAULT 0 REFERENCES t DEFERRABLE INITIALLY DEFERRED); INSERT INTO t SELECT g FROM generate_series(0, 5) g")
	p, err := Run(context.Background(), connect(t, address), options(t, address, "-- deploy: backfill t by k batch 3\nUPDATE t SET n = k * 2 WHERE k BETWEEN $1 AND $2"))
	require.ErrorContains(t, err, `violates foreign key constraint "t_n_fkey" (23503)`)
	assert.Equal(t, int64(3), p.Done)
	assert.Equal(t, "4", pgtest.Value(t, address, "SELECT max(n) FROM t"))
}

func TestCanceledBatchLeavesNothing(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 20)")
	conn := connect(t, address)
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		pgtest.Eventually(t, address, pgtest.Sleeping)
		cancel(errors.New("the operator said stop"))
	}()
	o := options(t, address, "-- deploy: backfill t by k batch 3\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2 AND (k <> 8 OR pg_sleep(60) IS NOT NULL)")
	p, err := Run(ctx, conn, o)
	require.EqualError(t, err, "m/7_fill.up.sql: the operator said stop")
	assert.Equal(t, Interrupted, p.State)
	assert.Equal(t, p, listed(t, address))
	assert.Equal(t, fmt.Sprint(p.Done), pgtest.Value(t, address, "SELECT sum(n) FROM t"))
	assert.Less(t, p.Done, int64(8))
	assert.Equal(t, byte('I'), conn.PgConn().TxStatus())
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
}

func TestLostConnectionInABatchLeavesNothing(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	conn := connect(t, address)
	pid := conn.PgConn().PID()
	go func() {
		pgtest.Eventually(t, address, pgtest.Sleeping)
		pgtest.Exec(t, address, fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
	}()
	p, err := Run(context.Background(), conn, options(t, address, "-- deploy: backfill t by k batch 3\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2 AND (k <> 8 OR pg_sleep(60) IS NOT NULL)"))
	require.ErrorContains(t, err, "terminating connection due to administrator command (57P01)")
	assert.Equal(t, Interrupted, p.State)
	pgtest.Eventually(t, address, fmt.Sprintf("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %d)", pid))
	now := listed(t, address)
	assert.Equal(t, Interrupted, now.State)
	assert.Equal(t, p.Done, now.Done)
	assert.Equal(t, fmt.Sprint(p.Done), pgtest.Value(t, address, "SELECT sum(n) FROM t"))
}

func TestKeyThatOnlyNewRowsMustHaveMayBeNULL(t *testing.T) {
	address := pgtest.Database(t)
	if pgtest.Value(t, address, "current_setting('server_version_num')::int >= 180000") == "false" {
		t.Skip("before PostgreSQL 18 there is no NOT NULL that is not valid")
	}
	pgtest.Exec(t, address, "CREATE TABLE t (k int UNIQUE, n int); INSERT INTO t VALUES (NULL, 0); ALTER TABLE t ADD NOT NULL k NOT VALID")
	_, err := Run(context.Background(), connect(t, address), options(t, address, count))
	require.ErrorContains(t, err, `"k" of "public"."t" may be NULL`)
}

func TestSessionKeepsItsOwnLimits(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT 1")
	conn := connect(t, address)
	_, err := conn.Exec(context.Background(), "SET lock_timeout = '17s'; SET default_transaction_read_only = on; SET default_transaction_isolation = 'serializable'", pgtest.Simply)
	require.NoError(t, err)
	o := options(t, address, "-- deploy: backfill t by k\nUPDATE t SET n = (SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout') WHERE k BETWEEN $1 AND $2")
	o.LockTimeout = 1234 * time.Millisecond
	_, err = Run(context.Background(), conn, o)
	require.NoError(t, err)
	assert.Equal(t, "1234", pgtest.Value(t, address, "SELECT n FROM t"))
	fails := options(t, address, strings.Replace(count, "n + 1", "n / 0", 1))
	fails.Version++
	p, err := Run(context.Background(), conn, fails)
	require.ErrorContains(t, err, "division by zero")
	assert.Equal(t, Failed, p.State)
	var after string
	require.NoError(t, conn.QueryRow(context.Background(), "SHOW lock_timeout").Scan(&after))
	assert.Equal(t, "17s", after)
}

func TestMain(m *testing.M) {
	if child() {
		return
	}
	pgtest.Main(m)
}
