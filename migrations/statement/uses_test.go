package statement_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/statement"
)

const shop = `
	CREATE TABLE users (id bigint PRIMARY KEY, email text UNIQUE, name text, team_id bigint, data jsonb, created timestamptz DEFAULT now());
	CREATE TABLE teams (id bigint PRIMARY KEY, title text, owner_id bigint);
	CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint, total numeric, state text, note text);
	CREATE TABLE tags (tag text, order_id bigint);
	CREATE SCHEMA app;
	CREATE TABLE app.users (id bigint PRIMARY KEY, secret text);
	CREATE TYPE address AS (street text, town text);
	CREATE TABLE places (id bigint, home address);`

const (
	equal = ""      // the same columns as PostgreSQL
	more  = "more"  // PostgreSQL knows whose columns without a qualifier are, and takes a whole row for no column
	fewer = "fewer" // PostgreSQL lists all columns for excluded
)

// queries are statements of applications on that schema.
var queries = []struct {
	sql  string
	than string
}{
	{"SELECT * FROM users", equal},
	{"SELECT u.* FROM users u JOIN teams t ON t.id = u.team_id", equal},
	{"SELECT email FROM users WHERE id = 1", equal},
	{"SELECT public.users.email, app.users.secret FROM public.users, app.users", equal},
	{`SELECT "users"."email" AS "e" FROM "users" WHERE "users"."id" = 1 ORDER BY "e", "users"."name" LIMIT 5`, equal},
	{"SELECT email, title FROM users JOIN teams ON teams.id = team_id", equal},
	{"SELECT count(*) FROM users", equal},
	{"SELECT count(*) AS n, u.state FROM orders u GROUP BY u.state HAVING sum(u.total) > 5 ORDER BY n DESC", equal},
	{"SELECT u FROM users u", more},
	{"SELECT (u).email FROM users u", equal},
	{"SELECT row_to_json(u) FROM users AS u", more},
	{"SELECT (p.home).town FROM places p", equal},
	{"SELECT id FROM users WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = users.id)", equal},
	{"SELECT u.id FROM users u WHERE u.id IN (SELECT o.user_id FROM orders o WHERE o.state = u.name)", equal},
	{"SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE total > 5)", equal},
	{"SELECT d.e FROM (SELECT u.email AS e, u.name FROM users u) d WHERE d.name = 'x'", equal},
	{"SELECT d.x FROM (SELECT u.email, u.name FROM users u) AS d(x, y)", equal},
	{"SELECT d.email FROM (SELECT * FROM users) d", equal},
	{"SELECT x.a FROM users AS x(a, b)", more},
	{"SELECT l.total FROM users u, LATERAL (SELECT o.total FROM orders o WHERE o.user_id = u.id LIMIT 1) l", equal},
	{"SELECT u.id, g FROM users u, generate_series(1, 3) AS g", equal},
	{"SELECT e.k FROM users u, jsonb_each(u.data) AS e(k, v)", equal},
	{"SELECT u.id FROM users u JOIN orders o USING (id)", equal},
	{"SELECT u.name FROM users u NATURAL JOIN app.users", more},
	{"SELECT j.title FROM (users u JOIN teams t ON t.id = u.team_id) AS j", equal},
	{"SELECT u.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.state = 'new' WHERE o.id IS NULL", equal},
	{"WITH x AS (SELECT id, email FROM users) SELECT x.email FROM x", equal},
	{"WITH users AS (SELECT t.title AS email FROM teams t) SELECT email FROM users", equal},
	{"WITH x(a) AS (SELECT u.id FROM users u) SELECT o.total FROM orders o JOIN x ON x.a = o.user_id", equal},
	{"WITH RECURSIVE r AS (SELECT t.id, t.owner_id FROM teams t UNION ALL SELECT t.id, r.owner_id FROM teams t JOIN r ON r.id = t.owner_id) SELECT * FROM r", equal},
	{"SELECT u.email FROM users u UNION ALL SELECT t.title FROM teams t ORDER BY email", equal},
	{"SELECT CASE WHEN u.name IS NULL THEN u.email ELSE lower(u.name) END FROM users u", equal},
	{"SELECT u.data ->> 'x' FROM users u WHERE u.data @> '{}'::jsonb", equal},
	{"SELECT row_number() OVER (PARTITION BY o.user_id ORDER BY o.total) FROM orders o", equal},
	{"SELECT sum(o.total) FILTER (WHERE o.state = 'x') OVER w FROM orders o WINDOW w AS (PARTITION BY o.note)", equal},
	{"SELECT DISTINCT ON (o.user_id) o.id FROM orders o ORDER BY o.user_id, o.total DESC", equal},
	{"SELECT ARRAY(SELECT t.tag FROM tags t WHERE t.order_id = o.id) FROM orders o", equal},
	{"SELECT created FROM users FOR UPDATE OF users", equal},
	{"VALUES (1, 2)", equal},
	{"SELECT u.ctid, u.xmin FROM users u", equal},
	{"INSERT INTO users (id, email) VALUES (1, 'x')", equal},
	{"INSERT INTO users VALUES (1, 'x', 'y', 1, '{}', now())", equal},
	{"INSERT INTO users (id, name) SELECT o.id, o.note FROM orders o", equal},
	{"INSERT INTO users AS u (id, email) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name, email = u.email WHERE u.team_id > 1", fewer},
	{"UPDATE users SET name = email WHERE id = 1", equal},
	{"UPDATE users AS u SET name = t.title FROM teams t WHERE t.id = u.team_id", equal},
	{"UPDATE users SET (name, email) = (SELECT t.title, t.title FROM teams t WHERE t.id = users.team_id)", equal},
	{"UPDATE users SET (name, email) = ('a', users.name)", equal},
	{"DELETE FROM orders o USING users u WHERE u.id = o.user_id AND u.name = 'x'", equal},
	{"WITH d AS (DELETE FROM orders RETURNING id, user_id) INSERT INTO tags (order_id) SELECT d.id FROM d", equal},
	{"WITH d AS (UPDATE orders SET state = 'x' RETURNING *) SELECT d.total FROM d", equal},
}

// columns are the columns of the tables, as the catalog has them.
func columns(t testing.TB, conn *pgx.Conn) map[statement.Name][]string {
	t.Helper()
	rows, err := conn.Query(context.Background(), `
		SELECT CASE nspname WHEN 'public' THEN '' ELSE nspname END, relname, array_agg(attname::text)
		FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
		WHERE relkind = 'r' AND attnum > 0 AND nspname IN ('public', 'app') GROUP BY 1, 2`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
		Schema, Table string
		Columns       []string
	}])
	require.NoError(t, err)
	known := map[statement.Name][]string{}
	for _, l := range list {
		known[statement.Name{Schema: l.Schema, Name: l.Table}] = l.Columns
	}
	return known
}

// PostgreSQL records which columns the body of a SQL function depends on: an oracle.
func TestUsesAreWhatPostgreSQLDependsOn(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, shop)
	conn := pgtest.Session(t, address)
	ctx := context.Background()
	known := columns(t, conn)
	for _, q := range queries {
		t.Run(q.sql, func(t *testing.T) {
			tx, err := conn.Begin(ctx)
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback(ctx)) }()
			_, err = tx.Exec(ctx, "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC "+q.sql+"; END")
			require.NoError(t, err)
			want := collect[string](t, tx, `
				SELECT CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END || relname || '.' || attname
				FROM pg_depend d JOIN pg_class c ON c.oid = refobjid JOIN pg_namespace n ON n.oid = relnamespace
					JOIN pg_attribute a ON attrelid = c.oid AND (attnum = refobjsubid)
				WHERE d.classid = 'pg_proc'::regclass AND objid = (SELECT oid FROM pg_proc WHERE proname = 'f') AND refclassid = 'pg_class'::regclass AND attnum > 0 AND relkind = 'r'`)
			got := []string{}
			for _, c := range parse(t, q.sql).Uses() {
				if c.Table.Schema == "public" {
					c.Table.Schema = ""
				}
				for _, name := range known[c.Table] {
					if text := c.Table.String() + "." + name; (c.Column == "*" || c.Column == name) && !slices.Contains(got, text) {
						got = append(got, text)
					}
				}
			}
			switch q.than {
			case more:
				assert.Subset(t, got, want)
				assert.Greater(t, len(got), len(want))
			case fewer:
				assert.Subset(t, want, got)
			default:
				assert.ElementsMatch(t, want, got)
			}
		})
	}
}

func TestUsesNameCandidatesAndStars(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT email FROM users u JOIN teams t ON t.id = u.team_id": "teams.email teams.id users.email users.team_id",
		"SELECT * FROM a, app.b":                                     "a.* app.b.*",
		"DELETE FROM a RETURNING *":                                  "a.*",
		"INSERT INTO a VALUES (1)":                                   "a.*",
		"INSERT INTO a DEFAULT VALUES":                               "",
		"INSERT INTO a (b) VALUES (1) RETURNING old.c, new.d":        "a.b a.c a.d",
		"COPY a (b, c) FROM STDIN":                                   "a.b a.c",
		"COPY a TO STDOUT":                                           "a.*",
		"SELECT users FROM users":                                    "users.* users.users",
		"CREATE VIEW v AS SELECT a FROM t":                           "t.a",
		"EXPLAIN SELECT a FROM t":                                    "t.a",
		"MERGE INTO t USING u ON t.a = u.b WHEN MATCHED THEN UPDATE SET c = u.d WHEN NOT MATCHED THEN INSERT (e) VALUES (u.f)": "t.a t.c t.e u.b u.d u.f",
		"DO $$ BEGIN UPDATE t SET a = 1; END $$": "t.a",
		"ALTER TABLE t DROP COLUMN a":            "",
		"SET a = 1":                              "",
	} {
		var got []string
		for _, c := range parse(t, sql).Uses() {
			got = append(got, c.String())
		}
		assert.Equal(t, want, strings.Join(got, " "), sql)
	}
}

func TestParametersBelongToColumns(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT * FROM t WHERE a = $1":                                                  "1:t.a",
		"SELECT * FROM t x WHERE $1 < x.a AND x.b LIKE $2":                              "1:t.a 2:t.b",
		"SELECT * FROM t WHERE a IN ($1, $2)":                                           "1:t.a 2:t.a",
		"SELECT * FROM t WHERE a = ANY ($1::int[])":                                     "1:t.a",
		"SELECT * FROM t WHERE a = ANY (ARRAY[$1, $2])":                                 "1:t.a 2:t.a",
		"SELECT * FROM t WHERE a BETWEEN $1 AND $2":                                     "1:t.a 2:t.a",
		"SELECT * FROM t WHERE (a, b) = ($1, $2)":                                       "1:t.a 2:t.b",
		"SELECT * FROM t WHERE (a, b) IN (($1, $2), ($3, $4))":                          "1:t.a 2:t.b 3:t.a 4:t.b",
		"SELECT * FROM t WHERE lower(a) = lower($1)":                                    "1:t.a",
		"SELECT * FROM t WHERE a IS DISTINCT FROM $1::text":                             "1:t.a",
		"SELECT * FROM t WHERE a + $1 > 5":                                              "",
		"SELECT * FROM t WHERE a ->> $1 = $2":                                           "",
		"SELECT * FROM t, u WHERE a = $1":                                               "1:t.a 1:u.a",
		"SELECT * FROM (SELECT a AS x FROM t) d WHERE d.x = $1":                         "1:t.a",
		"SELECT * FROM t WHERE id IN (SELECT t_id FROM u WHERE u.c = $1)":               "1:u.c",
		"UPDATE t SET a = $1, b = COALESCE($2, b) WHERE id = $3":                        "1:t.a 2:t.b 3:t.id",
		"UPDATE t SET (a, b) = ($1, $2)":                                                "1:t.a 2:t.b",
		"INSERT INTO t (a, b) VALUES ($1, DEFAULT), ($2, $3)":                           "1:t.a 2:t.a 3:t.b",
		"INSERT INTO t VALUES ($1)":                                                     "",
		"INSERT INTO t (a) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM u WHERE b = $2)":   "1:t.a 2:u.b",
		"INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET b = $2":            "1:t.a 2:t.b",
		"SELECT * FROM t WHERE a = $1 LIMIT $2 OFFSET $3":                               "1:t.a limit:2 limit:3",
		"SELECT * FROM t FETCH FIRST $1 ROWS ONLY":                                      "limit:1",
		"MERGE INTO t USING u ON t.a = $1 WHEN NOT MATCHED THEN INSERT (b) VALUES ($2)": "1:t.a 2:t.b",
	} {
		s := parse(t, sql)
		var got []string
		for n, list := range s.Parameters() {
			for _, c := range list {
				got = append(got, fmt.Sprintf("%d:%s", n, c))
			}
		}
		slices.Sort(got)
		for _, n := range s.Limits() {
			got = append(got, fmt.Sprintf("limit:%d", n))
		}
		assert.Equal(t, want, strings.Join(got, " "), sql)
	}
}

func TestWritesInsertsAndTables(t *testing.T) {
	tests := []struct {
		sql, writes, inserts, tables string
	}{
		{"INSERT INTO a (x, y) SELECT x, y FROM b", "[a]", "[{a [x y]}]", "[a b]"},
		{"INSERT INTO a VALUES (1)", "[a]", "[{a []}]", "[a]"},
		{"WITH n AS (INSERT INTO a (x) VALUES (1) RETURNING x) UPDATE b SET y = n.x FROM n", "[b a]", "[{a [x]}]", "[a b]"},
		{"MERGE INTO a USING b ON a.x = b.x WHEN NOT MATCHED THEN INSERT (x) VALUES (b.x)", "[a]", "[{a [x]}]", "[a b]"},
		{"COPY a (x) FROM STDIN", "[a]", "[{a [x]}]", "[a]"},
		{"TRUNCATE a, b", "[a b]", "[]", "[a b]"},
		{"SELECT * FROM a, app.b", "[]", "[]", "[a app.b]"},
		{"CREATE TABLE a (x int REFERENCES b)", "[]", "[]", "[b]"},
		{"ALTER INDEX i RENAME TO j", "[]", "[]", "[]"},
		{"DROP VIEW a, b", "[]", "[]", "[a b]"},
		{"COMMENT ON COLUMN app.a.x IS ''", "[]", "[]", "[app.a]"},
		{"ALTER TABLE a ATTACH PARTITION b DEFAULT", "[]", "[]", "[a b]"},
		{"DO $$ BEGIN DELETE FROM a; END $$", "[a]", "[]", "[a]"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN (SELECT 1 FROM a)", "[]", "[]", "[a]"},
	}
	for _, tt := range tests {
		t.Run(tt.sql, func(t *testing.T) {
			s := parse(t, tt.sql)
			assert.Equal(t, tt.writes, fmt.Sprint(s.Writes()))
			assert.Equal(t, tt.inserts, fmt.Sprint(s.Inserts()))
			assert.Equal(t, tt.tables, fmt.Sprint(s.Tables()))
		})
	}
}
