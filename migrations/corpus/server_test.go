package corpus

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// connect is a session as the pipeline opens them.
func connect(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pg.Connect(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(func() { pg.HangUp(context.Background(), conn) })
	return conn
}

// recorded is what Read answers after the application has sent statements, by text.
func recorded(t testing.TB, address string, statements ...string) map[string]Statement {
	t.Helper()
	ctx := context.Background()
	conn := connect(t, address)
	require.NoError(t, Enable(ctx, conn))
	require.NoError(t, Reset(ctx, conn))
	application := pgtest.Session(t, address)
	for _, sql := range statements {
		_, err := application.Exec(ctx, sql, pgtest.Simply)
		require.NoError(t, err, sql)
	}
	list, err := Read(ctx, conn, "tests")
	require.NoError(t, err)
	byText := map[string]Statement{}
	for _, s := range list {
		byText[s.SQL] = s
	}
	require.Len(t, byText, len(list), "no statement is there twice")
	return byText
}

func keys(m map[string]Statement) []string {
	list := []string{}
	for k := range m {
		list = append(list, k)
	}
	return list
}

func TestCorpusIsWhatTheApplicationSends(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE users (id bigserial PRIMARY KEY, email text); CREATE TABLE schema_migrations (version bigint);
		CREATE PROCEDURE visit(int) LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION name(int) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT email FROM users WHERE id = $1); END'`)
	got := recorded(t, address,
		"INSERT INTO users (email) VALUES ('a@example.org'), ('b@example.org')",
		"SELECT id FROM users WHERE email = 'a@example.org'", "SELECT id FROM users WHERE email = 'b@example.org'",
		"/* who */ UPDATE users SET email = 'c@example.org' WHERE id = 1 -- why",
		"PREPARE p (bigint) AS SELECT email FROM users WHERE id = $1", "EXECUTE p(1)",
		"BEGIN; DECLARE c CURSOR FOR SELECT email FROM users WHERE id > 17; FETCH ALL FROM c; COMMIT",
		"CALL visit(17)", "SELECT name(1)", "SELECT now() - interval '1 day', extract(epoch from now())",
		"CREATE TEMP TABLE mine (a int)", "SET work_mem = '4MB'", "COPY users TO STDOUT", "VACUUM users", "EXPLAIN SELECT 1", "DO 'BEGIN PERFORM 1; END'",
		"SELECT relname FROM pg_class LIMIT 1", "SELECT table_name FROM information_schema.tables LIMIT 1", "SELECT version FROM schema_migrations",
		"SELECT "+pg.Mark+" count(*) FROM users")
	assert.ElementsMatch(t, []string{
		"INSERT INTO users (email) VALUES ($1), ($2)",
		"SELECT id FROM users WHERE email = $1",
		"UPDATE users SET email = $1 WHERE id = $2",
		"SELECT email FROM users WHERE id = $1",
		"SELECT email FROM users WHERE id > $1",
		"CALL visit($1)", "SELECT name($1)", "SELECT now() - interval $1, extract($2 from now())",
	}, keys(got))
	read := got["SELECT id FROM users WHERE email = $1"]
	assert.Equal(t, Statement{SQL: read.SQL, Calls: 2, Rows: 2, Source: "tests"}, read)
	assert.Equal(t, int64(2), got["INSERT INTO users (email) VALUES ($1), ($2)"].Rows)
}

func TestPreparableOfWhatIsRecordedCanBePrepared(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (id int PRIMARY KEY, email text, data jsonb, at timestamptz)")
	got := recorded(t, address,
		"SELECT now() - interval '1 day', interval '3' day, interval(3) '1 day', extract(epoch FROM at), date '2020-01-01' FROM t",
		"SELECT timestamp with time zone '2020-01-01', time '10:00', json '{}', bool 't', cast('1' AS int), '1'::text FROM t LIMIT 3 OFFSET 1",
		"SELECT date_trunc('day', at), count(*) FROM t GROUP BY date_trunc('day', at) ORDER BY 1",
		"SELECT substring(email FROM 2 FOR 1), position('a' IN email), trim(both 'x' FROM email), at AT TIME ZONE 'utc' FROM t FETCH FIRST 2 ROWS ONLY",
		"SELECT * FROM t WHERE id IN (1, 2, 3) AND data @> '{}' AND email LIKE 'a!%' ESCAPE '!' AND at BETWEEN '2020-01-01' AND '2021-01-01'",
		"INSERT INTO t VALUES (1, 'a', NULL, now()) ON CONFLICT (id) DO UPDATE SET email = 'b' RETURNING *")
	require.Len(t, got, 6)
	conn := connect(t, address)
	for _, s := range got {
		_, err := conn.PgConn().Prepare(context.Background(), "", s.Preparable(), nil)
		assert.NoError(t, err, s.Preparable())
	}
}

func TestStatementsInFunctionsAreNotTheApplications(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM t); END'`)
	got := recorded(t, address, "SET pg_stat_statements.track = 'all'", "SELECT f()")
	assert.Equal(t, []string{"SELECT f()"}, keys(got))
}

func TestDatabasesAreKeptApartUnlessTheyAreNamed(t *testing.T) {
	ctx := context.Background()
	one, two := pgtest.Database(t), pgtest.Database(t)
	for _, address := range []string{one, two} {
		pgtest.Exec(t, address, "CREATE TABLE t (a int)")
	}
	assert.Equal(t, []string{"SELECT a FROM t"}, keys(recorded(t, one, "SELECT a FROM t")))
	assert.Equal(t, []string{"SELECT a + $1 FROM t"}, keys(recorded(t, two, "SELECT a + 1 FROM t")))
	conn := connect(t, one)
	other, err := Read(ctx, conn, "tests", database(two))
	require.NoError(t, err)
	assert.Equal(t, []Statement{{SQL: "SELECT a + $1 FROM t", Calls: 1, Source: "tests"}}, other)
	pgtest.Exec(t, pgtest.Server(t), "DROP DATABASE "+database(two)+" WITH (FORCE)")
	all, err := Read(ctx, conn, "tests", All)
	require.NoError(t, err)
	assert.Subset(t, all, []Statement{{SQL: "SELECT a + $1 FROM t", Calls: 1, Source: "tests"}}, "also of a database that is gone")
	require.NoError(t, Reset(ctx, conn))
	own, err := Read(ctx, conn, "tests")
	require.NoError(t, err)
	assert.Empty(t, own)
	all, err = Read(ctx, conn, "tests", All)
	require.NoError(t, err)
	assert.NotEmpty(t, all, "Reset forgets one database")
}

func database(address string) string {
	u, _ := url.Parse(address)
	return strings.TrimPrefix(u.Path, "/")
}

func TestHiddenSessionIsNotRecorded(t *testing.T) {
	ctx := context.Background()
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int)")
	conn := connect(t, address)
	require.NoError(t, Enable(ctx, conn))
	require.NoError(t, Reset(ctx, conn))
	require.NoError(t, Hide(ctx, conn))
	_, err := conn.Exec(ctx, "SELECT a FROM t")
	require.NoError(t, err)
	list, err := Read(ctx, conn, "traffic")
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestStatementsOfOthersAreCountedWhereTheirTextIsHidden(t *testing.T) {
	ctx := context.Background()
	address := pgtest.Database(t)
	role := "reader_" + database(address)
	pgtest.Exec(t, address, "CREATE TABLE t (a int); CREATE ROLE "+role+" LOGIN PASSWORD '"+pgtest.Password+"'")
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+role) })
	t.Cleanup(func() { pgtest.Exec(t, address, "DROP OWNED BY "+role) })
	recorded(t, address, "SELECT a FROM t", "SELECT a FROM t")
	pgtest.Exec(t, address, "GRANT USAGE ON SCHEMA pipeline_statements TO "+role)
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(role, pgtest.Password)
	list, err := Read(ctx, connect(t, u.String()), "traffic")
	require.NoError(t, err)
	require.NotEmpty(t, list)
	assert.Equal(t, Hidden, list[0].SQL)
	assert.GreaterOrEqual(t, list[0].Calls, int64(2))
	assert.Contains(t, list[0].Unreadable(), "pg_read_all_stats")
}

func TestServerThatForgetsStatementsIsNoticed(t *testing.T) {
	ctx := context.Background()
	cluster := pgtest.Start(t, map[string]string{"pg_stat_statements.max": "100"})
	conn := connect(t, cluster.URL)
	require.NoError(t, Enable(ctx, conn))
	forgotten, err := Forgotten(ctx, conn)
	require.NoError(t, err)
	assert.Zero(t, forgotten)
	var many strings.Builder
	for i := range 300 {
		many.WriteString("SELECT 1" + strings.Repeat(", 1", i) + ";")
	}
	pgtest.Exec(t, cluster.URL, many.String())
	forgotten, err = Forgotten(ctx, conn)
	require.NoError(t, err)
	assert.Positive(t, forgotten)
}

func TestServerThatDoesNotRecordIsTold(t *testing.T) {
	ctx := context.Background()
	cluster := pgtest.Start(t, map[string]string{"shared_preload_libraries": ""})
	conn := connect(t, cluster.URL)
	require.ErrorIs(t, Enable(ctx, conn), ErrNotLoaded)
	assert.Equal(t, "0", pgtest.Value(t, cluster.URL, "SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'"), "nothing is left")
	_, err := Read(ctx, conn, "tests")
	require.ErrorContains(t, err, "CREATE EXTENSION")
	pgtest.Exec(t, cluster.URL, "CREATE EXTENSION pg_stat_statements")
	_, err = Read(ctx, conn, "tests")
	require.ErrorIs(t, err, ErrNotLoaded)
	require.ErrorIs(t, Enable(ctx, conn), ErrNotLoaded)
}

func TestExtensionThatIsThereIsUsedWhereItIs(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE SCHEMA "Odd ""one"; CREATE EXTENSION pg_stat_statements SCHEMA "Odd ""one"; CREATE TABLE t (a int)`)
	assert.Equal(t, []string{"SELECT a FROM t"}, keys(recorded(t, address, "SELECT a FROM t")))
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT count(*) FROM pg_namespace WHERE nspname = '"+schema+"'"))
}
