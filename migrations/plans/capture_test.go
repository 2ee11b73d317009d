package plans

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// shop is a database of 100,000 orders by 1,000 users. The orders are in 2,000 pages of 8 kB.
const shop = `
	CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, country varchar(20));
	INSERT INTO users SELECT g, 'user' || g || '@example.org', 'c' || g % 20 FROM generate_series(1, 1000) g;
	CREATE INDEX users_email ON users (email);
	CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, state varchar(20) NOT NULL, total numeric NOT NULL, note text NOT NULL);
	INSERT INTO orders SELECT g, g % 1000 + 1, CASE WHEN g % 10 = 0 THEN 'open' ELSE 'done' || g % 500 END, g % 77, repeat('x', 100)
		FROM generate_series(1, 100000) g;
	CREATE INDEX orders_user ON orders (user_id); CREATE INDEX orders_state ON orders (state); CREATE INDEX orders_upper ON orders (upper(state));
	CREATE VIEW slow AS SELECT 1 AS a`

// rehearsal is a copy on which plans are made.
type rehearsal struct {
	t       testing.TB
	conn    *pgx.Conn
	options Options
}

// rehearse makes a database with a schema.
func rehearse(t testing.TB, schema string, tables ...string) *rehearsal {
	t.Helper()
	address := pgtest.Database(t)
	fill(t, address, schema, tables...)
	return on(t, address)
}

func fill(t testing.TB, address, schema string, tables ...string) {
	t.Helper()
	pgtest.Exec(t, address, schema)
	for _, table := range tables {
		pgtest.Exec(t, address, "VACUUM ANALYZE "+table)
	}
}

// rehearseShop copies the shop, statistics and all: to fill it takes a second.
func rehearseShop(t testing.TB) *rehearsal {
	t.Helper()
	server := pgtest.Server(t)
	original, err := pg.OnDatabase(server, "shop")
	require.NoError(t, err)
	if pgtest.Value(t, server, "SELECT count(*) FROM pg_database WHERE datname = 'shop'") == "0" {
		pgtest.Exec(t, server, "CREATE DATABASE shop")
		fill(t, original, shop, "users", "orders")
	}
	address := pgtest.Database(t)
	name := address[strings.LastIndex(address, "/")+1:]
	name, _, _ = strings.Cut(name, "?")
	pgtest.Exec(t, server, "DROP DATABASE "+name)
	pgtest.Exec(t, server, "CREATE DATABASE "+name+" TEMPLATE shop")
	return on(t, address)
}

func on(t testing.TB, address string) *rehearsal {
	t.Helper()
	conn, err := pg.Connect(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(func() { pg.HangUp(context.Background(), conn) })
	return &rehearsal{t: t, conn: conn, options: Options{Execute: true, Timeout: time.Second}}
}

func (r *rehearsal) exec(sql string) {
	r.t.Helper()
	_, err := r.conn.Exec(context.Background(), sql, pgtest.Simply)
	require.NoError(r.t, err)
}

func (r *rehearsal) capture(queries ...string) *Set {
	r.t.Helper()
	var statements []corpus.Statement
	for _, q := range queries {
		statements = append(statements, corpus.Statement{SQL: q, Calls: 1})
	}
	set, err := Capture(context.Background(), r.conn, statements, r.options)
	require.NoError(r.t, err)
	return set
}

// migrate compares the plans of queries around a migration, and those after ANALYZE of orders.
func (r *rehearsal) migrate(migration string, queries ...string) *Report {
	r.t.Helper()
	before := r.capture(queries...)
	r.options.Like = before
	r.exec(migration)
	after := r.capture(queries...)
	r.exec("ANALYZE orders")
	return Compare(before, after, r.capture(queries...))
}

func TestMigrationsThatMakeQueriesSlow(t *testing.T) {
	tests := []struct {
		name, migration, query string
		kind                   Kind
		level                  finding.Level
		untilAnalyze           bool
		object, fix            string
	}{
		{"a dropped index", "DROP INDEX orders_user", "SELECT * FROM orders WHERE user_id = $1",
			IndexLost, finding.Refuse, false, "index public.orders_user", "CREATE INDEX orders_user ON public.orders USING btree (user_id)"},
		{"a dropped index that a change needs", "DROP INDEX orders_user", "UPDATE orders SET total = $1 WHERE user_id = $2",
			IndexLost, finding.Refuse, false, "index public.orders_user", ""},
		{"a dropped index that a deletion needs", "DROP INDEX orders_user", "DELETE FROM orders WHERE user_id = $1",
			IndexLost, finding.Refuse, false, "index public.orders_user", ""},
		{"a dropped index that rows to lock are found by", "DROP INDEX orders_user", "SELECT id FROM orders WHERE user_id = $1 FOR UPDATE SKIP LOCKED",
			IndexLost, finding.Refuse, false, "index public.orders_user", ""},
		{"a change of type that the index is not for", "ALTER TABLE orders ALTER user_id TYPE text; CREATE INDEX ON orders (user_id)",
			"SELECT * FROM orders WHERE user_id::bigint = $1",
			SeqScan, finding.Refuse, false, "table public.orders", "CREATE INDEX CONCURRENTLY"},
		{"a change of type, which deletes the statistics", "ALTER TABLE orders ALTER state TYPE text USING state || ''", "SELECT * FROM orders WHERE state = $1",
			Cost, finding.Warn, true, "", "ANALYZE public.orders;"},
		{"a join that goes another way without statistics", "ALTER TABLE orders ALTER state TYPE text USING state || ''",
			"SELECT * FROM orders o JOIN users u ON u.id = o.user_id WHERE o.state = $1 AND u.country = $2",
			Join, finding.Warn, true, "", "ANALYZE public.orders;"},
		{"an index on an expression made anew, which has no statistics", "DROP INDEX orders_upper; CREATE INDEX orders_upper ON orders (upper(state))",
			"SELECT * FROM orders WHERE upper(state) = $1",
			Cost, finding.Warn, true, "", "ANALYZE public.orders;"},
		{"rows that are much larger", "ALTER TABLE orders ALTER note SET STORAGE PLAIN; UPDATE orders SET note = repeat('x', 400)", "SELECT count(*) FROM orders WHERE total > $1",
			Cost, finding.Warn, false, "", ""},
		{"a view that takes its time", "CREATE OR REPLACE VIEW slow AS SELECT 1 AS a FROM pg_sleep(60)", "SELECT a FROM slow",
			Blocks, finding.Refuse, false, "", ""},
		{"a longer text, although no row is looked at", "ALTER TABLE orders ALTER state TYPE varchar(40)", "SELECT * FROM orders WHERE state = $1",
			Cost, finding.Warn, true, "", "ANALYZE public.orders;"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rehearseShop(t)
			report := r.migrate(tt.migration, tt.query, "SELECT * FROM users WHERE id = $1")
			assert.Equal(t, 2, report.Statements)
			require.Len(t, report.Regressions, 1, "%v", report.NotCheckable)
			g := report.Regressions[0]
			assert.Equal(t, tt.query, g.SQL)
			assert.Equal(t, tt.kind, g.Kind, g.Finding.Message)
			assert.Equal(t, tt.level, g.Finding.Level, g.Finding.Message)
			assert.Equal(t, tt.untilAnalyze, g.UntilAnalyze, g.Finding.Message)
			assert.Equal(t, tt.object, g.Finding.Object)
			assert.Contains(t, g.Finding.Fix, tt.fix)
			assert.Equal(t, []finding.Finding{g.Finding}, report.Findings)
			t.Log(g.Finding.Message)
		})
	}
}

func TestMigrationsThatDoNot(t *testing.T) {
	tests := []struct {
		name, migration, query string
		changed, improved      int
	}{
		{"nothing", "SELECT 1", "SELECT * FROM orders o JOIN users u ON u.id = o.user_id WHERE o.state = $1 AND u.country = $2 ORDER BY o.total LIMIT $3", 0, 0},
		{"another name for the index", "ALTER INDEX orders_user RENAME TO orders_by_user", "SELECT * FROM orders WHERE user_id = $1", 1, 0},
		{"an index instead of another", "CREATE INDEX orders_both ON orders (user_id, state); DROP INDEX orders_user", "SELECT * FROM orders WHERE user_id = $1", 1, 0},
		{"an index of a small table dropped", "DROP INDEX users_email", "SELECT * FROM users WHERE email = $1", 1, 0},
		{"a new column", "ALTER TABLE orders ADD COLUMN more int DEFAULT 3", "SELECT * FROM orders WHERE user_id = $1", 0, 0},
		{"an index that helps", "CREATE INDEX orders_total ON orders (total)", "SELECT * FROM orders WHERE total = $1", 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rehearseShop(t)
			report := r.migrate(tt.migration, tt.query)
			assert.Empty(t, report.Findings)
			assert.Equal(t, []int{1, 1, tt.changed, tt.improved}, []int{report.Statements, report.Measured, report.Changed, report.Improved}, "%v", report)
		})
	}
}

func TestWhatCannotBeCheckedIsListed(t *testing.T) {
	r := rehearse(t, "CREATE TABLE t (a int); CREATE TABLE canary (a int)")
	report := r.migrate("CREATE TABLE orders (a int); DROP TABLE t", "SELECT a FROM nowhere", "SELECT 1; DROP TABLE canary", "SELECT date_trunc($1, now()) + $2 || $3 + $4",
		corpus.Hidden, "SELECT a FROM t")
	reasons := map[string]string{}
	for _, n := range report.NotCheckable {
		reasons[n.SQL] = n.Reason
	}
	assert.Len(t, reasons, 5)
	assert.Contains(t, reasons["SELECT a FROM nowhere"], `relation "nowhere" does not exist (SQLSTATE 42P01)`)
	assert.Contains(t, reasons["SELECT 1; DROP TABLE canary"], "42601")
	assert.Contains(t, reasons[corpus.Hidden], "pg_read_all_stats")
	assert.Contains(t, reasons["SELECT a FROM t"], `after the migration: relation "t" does not exist`)
	require.Len(t, report.Findings, 1)
	assert.Equal(t, "plan-not-checkable", report.Findings[0].Name)
	assert.Equal(t, finding.Note, report.Findings[0].Level)
	r.exec("SELECT a FROM canary")
}

func TestWhatCannotBeMeasuredIsListed(t *testing.T) {
	r := rehearse(t, "CREATE TABLE t (a int, b jsonb); INSERT INTO t VALUES (1, NULL); CREATE SEQUENCE s; CREATE TABLE canary (a int)")
	set := r.capture("INSERT INTO t VALUES ($1)", "WITH w AS (DELETE FROM t RETURNING a) SELECT a FROM w", "SELECT a FROM t WHERE b = $1", "SELECT $1 || a FROM t",
		"SELECT nextval('s')", "SELECT 1 / (a - a) FROM t", "SELECT a FROM t, pg_sleep(60)", "MERGE INTO t USING canary c ON c.a = t.a WHEN MATCHED THEN DELETE")
	want := map[string]string{
		"INSERT INTO t VALUES ($1)":                                         "INSERT is not executed",
		"WITH w AS (DELETE FROM t RETURNING a) SELECT a FROM w":             "it changes rows within WITH",
		"SELECT a FROM t WHERE b = $1":                                      "table t has no row with a value in b",
		"SELECT $1 || a FROM t":                                             "parameter $1 is compared with no column from which a value could be taken",
		"SELECT nextval('s')":                                               "executed with values from the data, it fails with SQLSTATE 25006",
		"SELECT 1 / (a - a) FROM t":                                         "executed with values from the data, it fails with SQLSTATE 22012",
		"SELECT a FROM t, pg_sleep(60)":                                     "it takes longer than 1s",
		"MERGE INTO t USING canary c ON c.a = t.a WHEN MATCHED THEN DELETE": "MERGE is not executed",
	}
	for sql, why := range want {
		plan, planned := set.Plans[sql]
		require.True(t, planned, "%s: %v", sql, set.NotCheckable)
		assert.Equal(t, why, plan.NotMeasured, sql)
		assert.Equal(t, int64(-1), plan.Blocks)
	}
	var rows int
	require.NoError(t, r.conn.QueryRow(context.Background(), "SELECT count(*) FROM t").Scan(&rows))
	assert.Equal(t, 1, rows, "nothing was deleted")
}

func TestParametersAreValuesOfTheData(t *testing.T) {
	r := rehearse(t, `CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE SCHEMA "Odd ""Schema";
		CREATE TABLE "Odd ""Schema"."T.x" ("Id ""1" int PRIMARY KEY, m mood, tags text[], path text, at timestamptz, "select" numeric(10, 2));
		INSERT INTO "Odd ""Schema"."T.x" SELECT g, 'happy', ARRAY['a"b', 'c\d', NULL], 'C:\x''' || g, now(), 1.5 FROM generate_series(1, 20000) g;
		CREATE TABLE parts (a int, b int) PARTITION BY RANGE (a); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
		CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20); INSERT INTO parts SELECT g % 20, g FROM generate_series(1, 5000) g`, `"Odd ""Schema"."T.x"`, "parts")
	queries := []string{
		`SELECT * FROM "Odd ""Schema"."T.x" o WHERE o."Id ""1" = $1 AND m = $2`,
		`SELECT * FROM "Odd ""Schema"."T.x" WHERE "Id ""1" = ANY($1) AND tags = $2 AND path = $3`,
		`SELECT * FROM "Odd ""Schema"."T.x" WHERE at BETWEEN $1 AND $2 AND "select" IN ($3, $4) OFFSET $5 LIMIT $6`,
		`UPDATE "Odd ""Schema"."T.x" SET m = $1, path = $2 WHERE "Id ""1" = $3`,
		`DELETE FROM parts p USING "Odd ""Schema"."T.x" o WHERE p.a = $1 AND o."Id ""1" = p.b`,
	}
	set := r.capture(queries...)
	for _, sql := range queries {
		assert.Empty(t, set.Plans[sql].NotMeasured, sql)
		assert.Positive(t, set.Plans[sql].Blocks, sql)
	}
	r.options.Like = set
	again := r.capture(queries...)
	for _, sql := range queries {
		assert.Equal(t, set.Plans[sql].Blocks, again.Plans[sql].Blocks, sql)
		assert.Equal(t, set.Plans[sql].Root, again.Plans[sql].Root, sql)
	}
	told, err := json.Marshal(Compare(set, again, again))
	require.NoError(t, err)
	assert.NotContains(t, string(told), "C:", "no value of a row")
	assert.Contains(t, set.Plans[queries[4]].Root.String(), "parts_2", "partitions are shown although the parameter is not known")
}

func TestSessionIsAsItWas(t *testing.T) {
	ctx := context.Background()
	r := rehearseShop(t)
	r.exec("SET plan_cache_mode = force_custom_plan; SET statement_timeout = '17s'; SET enable_partition_pruning = on")
	r.capture("SELECT * FROM orders WHERE user_id = $1", "SELECT nonsense", "SELECT 1 / (id - id) FROM users WHERE id = $1")
	assert.Equal(t, byte('I'), r.conn.PgConn().TxStatus())
	for setting, want := range map[string]string{"plan_cache_mode": "force_custom_plan", "statement_timeout": "17s", "enable_partition_pruning": "on", "transaction_read_only": "off"} {
		var value string
		require.NoError(t, r.conn.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&value))
		assert.Equal(t, want, value, setting)
	}
	var prepared int
	require.NoError(t, r.conn.QueryRow(ctx, "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''").Scan(&prepared))
	assert.Zero(t, prepared)
}

func TestCaptureEndsWithItsContext(t *testing.T) {
	r := rehearse(t, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, context.DeadlineExceeded)
	defer cancel()
	start := time.Now()
	_, err := Capture(ctx, r.conn, []corpus.Statement{{SQL: "SELECT pg_sleep(60) FROM t"}}, Options{Execute: true, Timeout: time.Minute})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 20*time.Second)
}

func TestNothingIsExecutedWithoutLeave(t *testing.T) {
	r := rehearse(t, `CREATE SEQUENCE s; CREATE TABLE t (a int)`)
	r.options.Execute = false
	set := r.capture("SELECT nextval('s') FROM t", "SELECT nextval('s')", "INSERT INTO t SELECT nextval('s')")
	require.Len(t, set.Plans, 3)
	var called bool
	require.NoError(t, r.conn.QueryRow(context.Background(), "SELECT is_called FROM s").Scan(&called))
	assert.False(t, called)
	assert.Equal(t, "executing was not allowed", set.Plans["SELECT nextval('s')"].NotMeasured)
}

func TestTimeForExecutingIsBounded(t *testing.T) {
	r := rehearse(t, "CREATE TABLE t (a int)")
	r.options.Budget = time.Nanosecond
	set := r.capture("SELECT a FROM t")
	assert.Equal(t, "the time for executing statements is over (1ns)", set.Plans["SELECT a FROM t"].NotMeasured)
}

func TestSettingsOfProductionDecidePlans(t *testing.T) {
	ctx := context.Background()
	r := rehearseShop(t)
	const query = "SELECT * FROM orders WHERE user_id = $1"
	plain := r.capture(query)
	production, err := Settings(ctx, r.conn)
	require.NoError(t, err)
	production["work_mem"], production["enable_bitmapscan"], production["random_page_cost"], production["not_of_this_version"] = "8MB", "off", "1.1", "on"
	require.NoError(t, Apply(ctx, r.conn, production))
	set := r.capture(query)
	assert.Equal(t, "8MB", set.Settings["work_mem"])
	assert.Equal(t, "Index Scan", set.Plans[query].Root.Type)
	assert.Equal(t, "Bitmap Heap Scan", plain.Plans[query].Root.Type)
	report := Compare(plain, set, nil)
	require.NotEmpty(t, report.Findings)
	assert.Equal(t, "plan-settings-differ", report.Findings[0].Name)
	production["work_mem"] = "nonsense"
	require.ErrorContains(t, Apply(ctx, r.conn, production), "set work_mem")
}

// The planner's guess for a value of a column without statistics is one row in 200 (DEFAULT_EQ_SEL, selfuncs.h).
func TestChangeOfTypeMakesThePlannerGuess(t *testing.T) {
	r := rehearseShop(t)
	const query = "SELECT * FROM orders WHERE user_id = $1"
	before := r.capture(query)
	r.options.Like = before
	r.exec("ALTER TABLE orders ALTER user_id TYPE int")
	after := r.capture(query)
	r.exec("ANALYZE orders")
	analyzed := r.capture(query)
	assert.InDelta(t, 100, before.Plans[query].Root.Rows, 3)
	assert.InDelta(t, 500, after.Plans[query].Root.Rows, 25)
	assert.InDelta(t, 100, analyzed.Plans[query].Root.Rows, 3)
	report := Compare(before, after, analyzed)
	require.Len(t, report.Regressions, 1)
	g := report.Regressions[0]
	assert.InDelta(t, 3.4, g.CostRatio, 0.3)
	assert.True(t, g.UntilAnalyze)
	assert.Equal(t, finding.Warn, g.Finding.Level, "the pages are as many as before")
	assert.InDelta(t, g.BlocksBefore, g.BlocksAfter, 5)
	assert.Contains(t, g.Finding.Message, "as before once the tables are analyzed")
}
