package script

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// texts of the statements found.
func splitTexts(text string) []string {
	list := []string{}
	for _, s := range split(text).statements {
		list = append(list, text[s.Start:s.End])
	}
	return list
}

func TestSplitFindsStatements(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"nothing", "", []string{}},
		{"white space and semicolons", " ;\n;; ", []string{}},
		{"comments alone", "-- a;\n/* b; */", []string{}},
		{"one without a semicolon", "SELECT 1", []string{"SELECT 1"}},
		{"two", "SELECT 1; SELECT 2;", []string{"SELECT 1", "SELECT 2"}},
		{"comments around and within", "-- x\nSELECT /* ; */ 1 -- ;\n; -- y\nSELECT 2", []string{"SELECT /* ; */ 1", "SELECT 2"}},
		{"nested comments", "/* /* ; */ ; */ SELECT 1", []string{"SELECT 1"}},
		{"strings", `SELECT 'a;''b;'; SELECT "c;""d;"`, []string{`SELECT 'a;''b;'`, `SELECT "c;""d;"`}},
		{"a backslash is nothing special", `SELECT '\'; SELECT 2`, []string{`SELECT '\'`, "SELECT 2"}},
		{"except in E''", `SELECT E'\';'; SELECT e'\\'; SELECT 3`, []string{`SELECT E'\';'`, `SELECT e'\\'`, "SELECT 3"}},
		{"E'' goes on in the next line", "SELECT E'a' -- it's\n  '\\';'; SELECT 2", []string{"SELECT E'a' -- it's\n  '\\';'", "SELECT 2"}},
		{"E'' does not go on in the same line", `SELECT E'a' '\'; SELECT 2`, []string{`SELECT E'a' '\'`, "SELECT 2"}},
		{"a name that ends in e is no E''", `SELECT type'\'; SELECT 2`, []string{`SELECT type'\'`, "SELECT 2"}},
		{"dollars", "SELECT $$;$$; SELECT $a$ ; $$ ; $b$ $a$; SELECT 3", []string{"SELECT $$;$$", "SELECT $a$ ; $$ ; $b$ $a$", "SELECT 3"}},
		{"dollars that quote nothing", "SELECT $1; SELECT a$$; SELECT $1a$; SELECT $", []string{"SELECT $1", "SELECT a$$", "SELECT $1a$", "SELECT $"}},
		{"a rule with several actions", "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3", []string{"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"}},
		{"a function of SQL", "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 2 END; END; SELECT 3",
			[]string{"CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 2 END; END", "SELECT 3"}},
		{"BEGIN elsewhere", "BEGIN; SELECT CASE WHEN a THEN 1 END; END; SELECT 2", []string{"BEGIN", "SELECT CASE WHEN a THEN 1 END", "END", "SELECT 2"}},
		{"drizzle's breakpoints end a statement", "SELECT 1\n--> statement-breakpoint\nSELECT 2;--> statement-breakpoint\nSELECT 3", []string{"SELECT 1", "SELECT 2", "SELECT 3"}},
		{"but not within a string", "SELECT '\n--> statement-breakpoint\n'", []string{"SELECT '\n--> statement-breakpoint\n'"}},
		{"other scripts", "SELECT 'é;'; SELECT ñ$$ ; SELECT 名;", []string{"SELECT 'é;'", "SELECT ñ$$", "SELECT 名"}},
		{"open ends", "SELECT 1; SELECT '; SELECT 2", []string{"SELECT 1", "SELECT '; SELECT 2"}},
		{"an open E''", `SELECT E'\`, []string{`SELECT E'\`}},
		{"an open comment", "SELECT 1; /* /* */", []string{"SELECT 1"}},
		{"old line ends", "SELECT 1 -- ;\rSELECT 2;", []string{"SELECT 1 -- ;\rSELECT 2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, splitTexts(tt.text))
		})
	}
}

// pieces are expressions, and what may stand between, that are hard to split.
var (
	pieces = []string{
		"1", `'a;''b'`, `'\'`, `E'\';'`, `e'a''\\'`, "E'a'\n'\\';'", "E'a' -- it's\n\n '\\';'", "$$;$$", "$t$ ; $$ ' $t$", `$ü1_$;$t$$ü1_$`, `U&'\0061;'`, `B'01'`, `N'a;'`,
		`(SELECT ';')`, `CASE WHEN true THEN 1 END`, `1 AS "c;""d"`, `1 AS a$$`, `1 AS e`, `'--'`, `'/*'`, `1 - -1`, `1 # -1`, "'a'\n';'",
	}
	gaps = []string{" ", "\n", " /* ; */ ", " /* /* ' */ ; */ ", " -- ; ' $$\n", "\t", "--\r\n", " /*/ ; */ "}
)

func randomSQL(r *rand.Rand) (text string, statements int) {
	var b strings.Builder
	gap := func() { b.WriteString(gaps[r.IntN(len(gaps))]) }
	for range r.IntN(6) {
		gap()
		b.WriteString("SELECT ")
		for i := range 1 + r.IntN(3) {
			if i > 0 {
				b.WriteString(",")
			}
			gap()
			b.WriteString(pieces[r.IntN(len(pieces))])
			gap()
		}
		b.WriteString(strings.Repeat(";", 1+r.IntN(2)))
		statements++
	}
	gap()
	return b.String(), statements
}

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestSplitCountsAsPostgreSQLDoes(t *testing.T) {
	conn := pgtest.Session(t, pgtest.Server(t))
	for seed := range uint64(500) {
		text, want := randomSQL(rand.New(rand.NewPCG(seed, 1)))
		results, err := conn.PgConn().Exec(context.Background(), text).ReadAll()
		require.NoError(t, err, "seed %d: %s", seed, text)
		completed := 0
		for _, r := range results {
			if r.CommandTag.Select() {
				completed++
			}
		}
		require.Equal(t, want, completed, "seed %d: %s", seed, text)
		require.Len(t, split(text).statements, completed, "seed %d: %s", seed, text)
	}
}

func FuzzSplit(f *testing.F) {
	for seed := range uint64(20) {
		text, _ := randomSQL(rand.New(rand.NewPCG(seed, 2)))
		f.Add(text)
	}
	for _, name := range []string{"../../testdata/metaextract/migrations/0000_extractions.sql", "../../testdata/next/migrations/0001_kind.sql"} {
		body, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(string(body))
	}
	f.Add("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END")
	f.Add("BEGIN;--> statement-breakpoint\nSELECT E'\\' /*")
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for _, s := range split(text).statements {
			if s.Start < at || s.End <= s.Start || s.End > len(text) {
				t.Fatalf("statement %d..%d after %d of %d", s.Start, s.End, at, len(text))
			}
			// What lies between is white space, comments, semicolons and breakpoints.
			if n := len(split(text[at:s.Start]).statements); n != 0 {
				t.Fatalf("%d statements lost in %q", n, text[at:s.Start])
			}
			again := split(text[s.Start:s.End]).statements
			if len(again) != 1 || again[0].Start != 0 || again[0].End != s.End-s.Start {
				t.Fatalf("%q is a statement within its file, and %d alone", text[s.Start:s.End], len(again))
			}
			at = s.End
		}
		if n := len(split(text[at:]).statements); n != 0 {
			t.Fatalf("%d statements lost in %q", n, text[at:])
		}
		script, err := Parse("f.sql", text)
		if err != nil {
			return
		}
		if len(script.Text) != len(script.Source) || strings.Count(script.Text, "\n") != strings.Count(script.Source, "\n") {
			t.Fatalf("positions moved: %q became %q", script.Source, script.Text)
		}
	})
}
