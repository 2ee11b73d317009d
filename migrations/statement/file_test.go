package statement_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

func TestWhatTheFileMadeIsNew(t *testing.T) {
	tests := []struct {
		name string
		sqls []string
		want []statement.Class
	}{
		{"a table", []string{"CREATE TABLE t (a int)", "ALTER TABLE t ALTER a SET NOT NULL", "INSERT INTO t VALUES (1)", "DROP TABLE t"},
			[]statement.Class{expand, expand, expand, expand}},
		{"its schema written or not", []string{`CREATE TABLE "t" (a int)`, `ALTER TABLE "public"."t" ADD UNIQUE (a)`, `ALTER TABLE "app"."t" ADD UNIQUE (a)`},
			[]statement.Class{expand, expand, contract}},
		{"not one that may have been there", []string{"CREATE TABLE IF NOT EXISTS t (a int)", "ALTER TABLE t ALTER a SET NOT NULL"},
			[]statement.Class{expand, contract}},
		{"a new table under another name", []string{"CREATE TABLE n (a int)", "ALTER TABLE n RENAME TO t", "ALTER TABLE t DROP COLUMN a"},
			[]statement.Class{expand, expand, expand}},
		{"not an old table under another name", []string{"ALTER TABLE old RENAME TO t", "ALTER TABLE t DROP COLUMN a"},
			[]statement.Class{contract, contract}},
		{"nor what was there before one of the same name was dropped again", []string{"CREATE TABLE t (a int)", "DROP TABLE t", "ALTER TABLE t DROP COLUMN a"},
			[]statement.Class{expand, expand, contract}},
		{"neutral stays neutral", []string{"CREATE TABLE t (a int)", "ANALYZE t"}, []statement.Class{expand, neutral}},
		{"drizzle's foreign key of a new column", []string{`ALTER TABLE "posts" ADD COLUMN "author_id" integer`, `ALTER TABLE "posts" ADD CONSTRAINT "fk" FOREIGN KEY ("author_id") REFERENCES "public"."users"("id")`},
			[]statement.Class{expand, expand}},
		{"not one that takes in an old column", []string{"ALTER TABLE t ADD COLUMN a int", "ALTER TABLE t ADD FOREIGN KEY (a, b) REFERENCES u (a, b)"},
			[]statement.Class{expand, contract}},
		{"uniqueness with a new column that is null", []string{"ALTER TABLE t ADD COLUMN a int", "CREATE UNIQUE INDEX ON t (a, b)", "ALTER TABLE t ADD UNIQUE (b, a)"},
			[]statement.Class{expand, expand, expand}},
		{"not with one that has a default", []string{"ALTER TABLE t ADD COLUMN a int DEFAULT 1", "CREATE UNIQUE INDEX ON t (a)"}, []statement.Class{expand, contract}},
		{"nor with nulls not distinct", []string{"ALTER TABLE t ADD COLUMN a int", "CREATE UNIQUE INDEX ON t (a) NULLS NOT DISTINCT"}, []statement.Class{expand, contract}},
		{"nor a column that may have been there", []string{"ALTER TABLE t ADD COLUMN IF NOT EXISTS a int", "ALTER TABLE t DROP COLUMN a"}, []statement.Class{expand, contract}},
		{"what is done to a new column", []string{"ALTER TABLE t ADD COLUMN a int", "ALTER TABLE t RENAME a TO b", "ALTER TABLE t ALTER b TYPE bigint", "ALTER TABLE t DROP COLUMN b"},
			[]statement.Class{expand, expand, expand, expand}},
		{"NOT NULL binds old code, new column or not", []string{"ALTER TABLE t ADD COLUMN a int", "ALTER TABLE t ALTER a SET NOT NULL"}, []statement.Class{expand, contract}},
		{"a schema with all in it", []string{"CREATE SCHEMA app", "CREATE TABLE app.t (a int)", "DROP TABLE app.t", "UPDATE app.u SET a = 1"}, []statement.Class{expand, expand, expand, expand}},
		{"other kinds", []string{"CREATE TYPE mood AS ENUM ('a')", "ALTER TYPE mood RENAME VALUE 'a' TO 'b'", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS ''", "DROP FUNCTION f()", "CREATE VIEW v AS SELECT 1", "DROP VIEW v"},
			[]statement.Class{expand, expand, expand, expand, expand, expand}},
		{"not a function that may have been replaced", []string{"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS ''", "DROP FUNCTION f()"}, []statement.Class{expand, contract}},
		{"not what a block may have made", []string{"DO $$ BEGIN CREATE TYPE mood AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$", "DROP TYPE mood"}, []statement.Class{expand, contract}},
		{"statements that are not understood do not hide the others", []string{"CREATE TABLE t (a int)", "not SQL", "DROP TABLE t"}, []statement.Class{expand, contract, expand}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []statement.Class
			for _, s := range statement.File(tt.sqls) {
				got = append(got, s.Class())
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

// pg_dump writes everything that a database has, and all of it is new.
func TestADumpOnlyExpands(t *testing.T) {
	address, role := scratch(t)
	pgtest.Exec(t, address, "ALTER TABLE t ENABLE ROW LEVEL SECURITY; COMMENT ON TABLE t IS 'x'; GRANT SELECT ON t TO "+role+"; CREATE STATISTICS z ON a, c FROM t; CREATE PUBLICATION z FOR TABLE t")
	s, err := script.Parse("dump.sql", dump(t, address))
	require.NoError(t, err)
	var sqls []string
	for i := range s.Statements {
		sqls = append(sqls, s.SQL(i))
	}
	assert.Greater(t, len(sqls), 50)
	for _, st := range statement.File(sqls) {
		require.NoError(t, st.Err(), st.SQL())
		assert.NotEqual(t, contract, st.Class(), "%s: %s", st.SQL(), st.Why())
		assert.NotEqual(t, backfill, st.Class(), st.SQL())
		assert.Empty(t, st.Lock(), st.SQL())
	}
}

func TestMakesAndRemoves(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE TABLE a (x int)":                    "makes [table a], removes []",
		"CREATE SCHEMA s CREATE VIEW v AS SELECT 1": "makes [schema s view v], removes []",
		"CREATE INDEX i ON s.t (a)":                 "makes [index s.i], removes []",
		"CREATE INDEX ON s.t (a)":                   "makes [], removes []",
		"ALTER TABLE t ADD a int, ADD CONSTRAINT c CHECK (a > 1), DROP b, DROP CONSTRAINT d": "makes [column t.a constraint t.c], removes [column t.b constraint t.d]",
		"ALTER TABLE s.t RENAME TO u":          "makes [table s.u], removes [table s.t]",
		"ALTER TABLE s.t RENAME a TO b":        "makes [column s.t.b], removes [column s.t.a]",
		"ALTER TABLE s.t SET SCHEMA r":         "makes [table r.t], removes [table s.t]",
		"ALTER TYPE m RENAME VALUE 'a' TO 'b'": "makes [label m.b], removes [label m.a]",
		"DROP MATERIALIZED VIEW a, s.b":        "makes [], removes [materialized view a materialized view s.b]",
		"DROP POLICY p ON s.t":                 "makes [], removes [policy s.t.p]",
		"DROP FUNCTION s.f(int)":               "makes [], removes [function s.f]",
		"DO $$ BEGIN DROP TABLE t; END $$":     "makes [], removes [table t]",
		"UPDATE t SET a = 1":                   "makes [], removes []",
	} {
		s := parse(t, sql)
		assert.Equal(t, want, fmt.Sprintf("makes %v, removes %v", s.Makes(), s.Removes()), sql)
	}
}

func TestBlocksOfPLpgSQLAreLookedInto(t *testing.T) {
	s := parse(t, `DO $$
DECLARE r record;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'mood') THEN
    CREATE TYPE mood AS ENUM ('a');
  END IF;
  FOR r IN SELECT * FROM users LOOP
    UPDATE users SET name = r.name WHERE id = r.id;
  END LOOP;
  EXECUTE 'ALTER TABLE users DROP COLUMN legacy';
  RAISE NOTICE 'done %', now();
EXCEPTION WHEN duplicate_object THEN
  DELETE FROM log;
END $$`)
	assert.False(t, s.Opaque())
	assert.Equal(t, contract, s.Class())
	assert.Equal(t, "drops column users.legacy", s.Why())
	assert.Equal(t, "AccessExclusiveLock", s.Lock())
	assert.Equal(t, "[users log]", fmt.Sprint(s.Writes()))
	lines := map[string]int{}
	for _, i := range s.Inner() {
		lines[i.SQL()] = i.Line
	}
	assert.Equal(t, 4, lines["CREATE TYPE mood AS ENUM ('a')"])
	assert.Equal(t, 7, lines["UPDATE users SET name = r.name WHERE id = r.id"])
	assert.Equal(t, 9, lines["ALTER TABLE users DROP COLUMN legacy"])
	assert.Equal(t, 12, lines["DELETE FROM log"])

	s = parse(t, "DO $$ BEGIN\n ALTER TABLE \"a\" ADD CONSTRAINT \"c\" FOREIGN KEY (\"x\") REFERENCES \"b\"(\"id\") ON DELETE no action;\nEXCEPTION\n WHEN duplicate_object THEN null;\nEND $$")
	assert.False(t, s.Opaque(), "drizzle-kit's foreign key")
	assert.Equal(t, "adds constraint a.c: FOREIGN KEY (x)", s.Why())
	assert.Equal(t, 1, s.Inner()[0].Line)
}

func TestFingerprintIsOfTheStatementWithoutItsConstants(t *testing.T) {
	a, b, c := parse(t, "SELECT * FROM t WHERE a = 1"), parse(t, "select * from t where a = $1"), parse(t, "SELECT * FROM t WHERE b = 1")
	assert.Equal(t, a.Fingerprint(), b.Fingerprint())
	assert.NotEqual(t, a.Fingerprint(), c.Fingerprint())
	assert.NotEmpty(t, a.Fingerprint())
}

func TestErrorsSayWhatIsNotUnderstood(t *testing.T) {
	for sql, message := range map[string]string{
		"SELECT 1; SELECT 2": "statement not understood: one statement is expected, and the text holds 2",
		"":                   "statement not understood: one statement is expected, and the text holds 0",
		"-- nothing":         "statement not understood: one statement is expected, and the text holds 0",
		"SELEC 1":            `statement not understood: syntax error at or near "SELEC"`,
		"SELECT 'a":          `statement not understood: unterminated quoted string at or near "'a"`,
		"SELECT \x00":        "statement not understood: it holds a NUL byte",
		"SELECT '\xff'":      "statement not understood: it is not UTF-8",
	} {
		s, err := statement.Parse(sql)
		assert.Nil(t, s)
		require.ErrorIs(t, err, statement.ErrNotUnderstood, sql)
		assert.EqualError(t, err, message)
	}
	_, err := statement.Parse("CREATE TABLE é (a int GENERATED ALWAYS AS (b) VIRTUAL)")
	var syntax *statement.SyntaxError
	require.ErrorAs(t, err, &syntax, "PostgreSQL 18")
	assert.Equal(t, `syntax error at or near "VIRTUAL"`, syntax.Message)
	assert.Equal(t, len("CREATE TABLE é (a int GENERATED ALWAYS AS (b) "), syntax.Offset)

	s := statement.File([]string{"SELEC 1"})[0]
	require.ErrorIs(t, s.Err(), statement.ErrNotUnderstood)
	assert.True(t, s.Opaque())
	assert.Equal(t, contract, s.Class())
	assert.Empty(t, s.Kind()+s.Lock()+s.Fingerprint())
	assert.Empty(t, s.Uses())
	assert.Empty(t, s.Tables())
	_, ok := s.Inverse()
	assert.False(t, ok)
}
