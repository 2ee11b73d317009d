package corpus

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestTextThatIsKept(t *testing.T) {
	tests := []struct{ name, sql, want string }{
		{"is a read", "select  *\n from t -- all of it\n;", "select * from t"},
		{"has no comment of a tracer", "/* a='1' */ SELECT 1 /* traceparent='00-1' */", "SELECT $1"},
		{"has the hint that decides its plan", "/*+ SeqScan(t) */ SELECT a FROM t", "/*+ SeqScan(t) */ SELECT a FROM t"},
		{"has no constant", "SELECT a FROM t WHERE b = 'secret' AND c IN (1, 2) LIMIT 3", "SELECT a FROM t WHERE b = $1 AND c IN ($2, $3) LIMIT $4"},
		{"keeps its parameters", "SELECT a FROM t WHERE b = $2 AND c = $1", "SELECT a FROM t WHERE b = $2 AND c = $1"},
		{"has no comment that stands for a list, as PostgreSQL 18 writes it", "SELECT a FROM t WHERE b IN ($1 /*, ... */)", "SELECT a FROM t WHERE b IN ($1)"},
		{"groups by what it selects", "select date_trunc($1, a), count(*) from t group by date_trunc('day', a)",
			"select date_trunc($1, a), count(*) from t group by date_trunc($1, a)"},
		{"is what was prepared", "PREPARE p (int, text) AS SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $1"},
		{"is what a cursor goes through", "declare c no scroll cursor with hold for select a from t where b = 'secret'", "select a from t where b = $1"},
		{"is a call", "call p(3, 'secret')", "call p($1, $2)"},
		{"begins with a parenthesis", "(SELECT 1) UNION (SELECT 2)", "(SELECT $1) UNION (SELECT $2)"},
		{"may not be SQL, and still has no constant", "SELECT FROM WHERE a = 'secret' AND b = 12345 AND c = $1", "SELECT FROM WHERE a = '' AND b = 0 AND c = $1"},
		{"may be cut off, and still has no constant", "SELECT a FROM t WHERE b = 'secr", "SELECT a FROM t WHERE b = ''"},
		{"may be cut off within dollar quotes", "SELECT a FROM t WHERE b = $$secr", "SELECT a FROM t WHERE b = ''"},
		{"is not about the schema", "CREATE TABLE t (a int)", ""},
		{"is not about the transaction", "BEGIN", ""},
		{"is not about the session", "SET search_path = a", ""},
		{"is no plan", "EXPLAIN SELECT 1", ""},
		{"is no copy", "COPY t TO STDOUT", ""},
		{"is something", "-- nothing", ""},
		{"is something prepared", "PREPARE p", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sql, ok := tidy(tt.sql)
			assert.Equal(t, tt.want, sql)
			assert.Equal(t, tt.want != "", ok)
		})
	}
}

func TestPreparableHasParametersWhereTheGrammarWantsConstants(t *testing.T) {
	tests := []struct{ name, sql, want string }{
		{"is the same where nothing is wrong", "SELECT a FROM t WHERE b = $1 AND c > $2", "SELECT a FROM t WHERE b = $1 AND c > $2"},
		{"casts an interval", "SELECT now() - interval $1", "SELECT now() - $1::interval"},
		{"casts an interval of a field", "SELECT now() - INTERVAL $1 DAY", "SELECT now() - $1::INTERVAL DAY"},
		{"casts an interval with a precision", "SELECT interval(3) $1", "SELECT $1::interval(3)"},
		{"casts a time with its zone", "SELECT timestamp with time zone $1, time without time zone $2", "SELECT $1::timestamp with time zone, $2::time without time zone"},
		{"casts others", "SELECT date $1, jsonb $2", "SELECT $1::date, $2::jsonb"},
		{"numbers what is left anew", "SELECT extract($2 from a), interval $3 FROM t WHERE b = $1", "SELECT extract(epoch from a), $1::interval FROM t WHERE b = $2"},
		{"leaves quoted names alone", `SELECT "interval $1" FROM t`, `SELECT "interval $1" FROM t`},
		{"leaves names of columns alone", "SELECT t.date FROM t WHERE date = $1", "SELECT t.date FROM t WHERE date = $1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, Statement{SQL: tt.sql}.Preparable())
		})
	}
}

func FuzzTidy(f *testing.F) {
	for _, seed := range []string{"SELECT 1", "prepare p as select $1", "select 'a", "select $$a$$", "/*+ x */ select 1;", "declare c cursor for table t", "(", ";;", "select \x00",
		"select \"a\" from t where b = e'\\''", "call p(1)", "SELECT interval $1 day, extract($2 from x)", "select u&'\\0041'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		const secret = "'correct horse'"
		text, ok := tidy(sql)
		if again, _ := tidy(text); ok && utf8.ValidString(sql) {
			twice, _ := tidy(again)
			assert.Equal(t, again, twice, "what was made tidy stays so")
		}
		_ = Statement{SQL: text}.Preparable()
		if kept, ok := tidy("SELECT " + secret + " WHERE " + sql); ok {
			assert.NotContains(t, kept, strings.Trim(secret, "'"))
		}
	})
}
