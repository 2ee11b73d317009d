package rules_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	pgquery "github.com/wasilibs/go-pgquery"

	"github.com/metaextract/pipeline/migrations/script"
)

// grammarSplit are the statements that PostgreSQL's own grammar finds.
func grammarSplit(t testing.TB, text string) []string {
	t.Helper()
	result, err := pgquery.Parse(text)
	require.NoError(t, err, text)
	var list []string
	for _, s := range result.GetStmts() {
		part := text[s.GetStmtLocation():]
		if s.GetStmtLen() > 0 {
			part = part[:s.GetStmtLen()]
		}
		list = append(list, strings.TrimSpace(part))
	}
	return list
}

// scriptSplit are those that package script finds. It leaves out the comments around a statement; the grammar leaves out
// those before it.
func scriptSplit(t testing.TB, text string) []string {
	t.Helper()
	s, err := script.Parse("f.sql", text)
	require.NoError(t, err)
	var list []string
	for i := range s.Statements {
		list = append(list, s.SQL(i))
	}
	return list
}

func assertSameStatements(t testing.TB, name, text string) {
	t.Helper()
	s, err := script.Parse(name, text)
	require.NoError(t, err)
	want, got := grammarSplit(t, s.Text), scriptSplit(t, text)
	require.Len(t, got, len(want), name)
	for i := range want {
		assert.True(t, strings.Contains(want[i], got[i]), "%s: %q is not in %q", name, got[i], want[i])
		rest := strings.Replace(want[i], got[i], "", 1)
		assert.Empty(t, grammarSplit(t, rest), "%s: %q is left of %q", name, rest, want[i])
	}
}

func TestScriptSplitsAsTheGrammarDoes(t *testing.T) {
	names, texts := files(t)
	for _, name := range names {
		if name != "not_understood.sql" {
			assertSameStatements(t, name, texts[name])
		}
	}
	pieces := []string{
		"1", `'a;''b'`, `'\'`, `E'\';'`, `E'a''\\'`, "E'a'\n'\\';'", "$$;$$", "$t$ ; $$ ' $t$", `U&'\0061;'`, `B'01'`, `N'a;'`, `(SELECT ';')`,
		"CASE WHEN true THEN 1 END", `1 AS "c;""d"`, "1 AS a$$", "1 AS e", "'--'", "'/*'", "1 - -1", "1 # -1", "'a'\n';'",
	}
	gaps := []string{" ", "\n", " /* ; */ ", " /* /* ' */ ; */ ", " -- ; ' $$\n", "\t", " /*/ ; */ "}
	begins := []string{"SELECT", "SELECT", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END; SELECT", "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT"}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		var b strings.Builder
		for range 1 + r.IntN(5) {
			gap := func() { b.WriteString(gaps[r.IntN(len(gaps))]) }
			gap()
			b.WriteString(begins[r.IntN(len(begins))])
			for i := range 1 + r.IntN(3) {
				if i > 0 {
					b.WriteString(",")
				}
				gap()
				b.WriteString(pieces[r.IntN(len(pieces))])
				gap()
			}
			b.WriteString(strings.Repeat(";", 1+r.IntN(2)))
		}
		assertSameStatements(t, "seed", b.String())
	}
}
