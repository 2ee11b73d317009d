package statement_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/statement"
)

// forms nest: open, middle and close of one level.
var forms = [][3]string{
	{"(", "1", ")"}, {"NOT ", "true", ""}, {"- ", "1", ""}, {"1 + ", "1", ""}, {"", "1", " + 1"}, {"", "'a'", " || 'a'"}, {"f(", "1", ")"},
	{"(SELECT ", "1", ")"}, {"CASE WHEN ", "true", " THEN 1 END"}, {"", "1", "::int"}, {"", "x", " IS NULL"}, {"ARRAY[", "1", "]"}, {"", "x", "[1]"},
	{"ROW(", "1", ")"}, {"EXISTS (SELECT ", "1", ")"}, {"", "1", " COLLATE \"C\""}, {"COALESCE(", "1", ")"}, {"", "1", " IN (1)"}, {"1 = ANY (", "x", ")"},
	{"", "1", " UNION SELECT 1"}, {"* FROM (SELECT ", "1", ") x"}, {"", "* FROM a", " JOIN a ON true"}, {"", "* FROM a", " CROSS JOIN a"}, {"", "x", " AT TIME ZONE 'UTC'"},
	{"", "1", " AND true"}, {"", "1", " OR a = 1"}, {"1, ", "1", ""}, {"(", "1", " AND true OR 'x')"}, {"(", "1", ", 2)"}, {"a AND NOT ", "b", ""}, {"a BETWEEN 1 AND NOT ", "b", ""},
	{"a IS DISTINCT FROM NOT ", "b", ""}, {"", "* FROM a", " JOIN a ON a.b = a.c"}, {"", "a FROM b WHERE c", " UNION SELECT a FROM b WHERE c"},
}

func nested(form [3]string, depth int) string {
	return "SELECT " + strings.Repeat(form[0], depth) + form[1] + strings.Repeat(form[2], depth)
}

// The parser's own stack overflows at some depth, and what it answers after that is wrong.
func TestDeepNestingDoesNotBreakTheParser(t *testing.T) {
	for _, form := range forms {
		for _, depth := range []int{5, 100, 490, 4000, 20_000} {
			s, err := statement.Parse(nested(form, depth))
			if err != nil {
				require.ErrorIs(t, err, statement.ErrNotUnderstood)
				require.NotContains(t, err.Error(), "abnormally", "%q %d deep", form, depth)
				require.Greater(t, depth, 100, "%q: %v", form, err)
			} else {
				s.Uses()
				s.Fingerprint()
				if text, err := statement.Deparse(s.Tree()); err == nil {
					_, err = statement.Parse(text)
					require.NoError(t, err, "%q %d deep", form, depth)
				} else {
					require.Greater(t, depth, 5, "%q: %v", form, err)
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		text := "1"
		for range 1 + random.IntN(12) {
			form := forms[random.IntN(len(forms))]
			n := random.IntN(400)
			text = strings.Repeat(form[0], n) + text + strings.Repeat(form[2], n)
		}
		if _, err := statement.Parse("SELECT " + text); err != nil {
			require.NotContains(t, err.Error(), "abnormally", text)
		}
	}
	TestLongStatementsThatDoNotNestAreUnderstood(t) // the parser's memory is as it should be
}

func TestLongStatementsThatDoNotNestAreUnderstood(t *testing.T) {
	for name, sql := range map[string]string{
		"rows":       "INSERT INTO t (a, b) VALUES " + strings.Repeat("(1 + 2, 'x'), ", 20_000) + "(1, 'y')",
		"conditions": "DELETE FROM t WHERE a = 0" + strings.Repeat(" OR a = 1 AND b = 2", 5000),
		"columns":    "CREATE TABLE t (a0 int NOT NULL DEFAULT 1" + strings.Repeat(", a numeric(10, 2) NOT NULL DEFAULT 0 CHECK (a > 0)", 1500) + ")",
		"joins":      "SELECT t.a FROM t" + strings.Repeat(" JOIN u ON u.a = t.a", 100),
		"cases":      "SELECT CASE a" + strings.Repeat(" WHEN 1 THEN 2", 200) + " END FROM t",
		"a function": "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN " + strings.Repeat("PERFORM 1 + 1 + 1; ", 5000) + "END $$",
	} {
		_, err := statement.Parse(sql)
		assert.NoError(t, err, name)
	}
	_, err := statement.Parse("SELECT '" + strings.Repeat("x", 9<<20) + "'")
	assert.EqualError(t, err, "statement not understood: it is longer than 8 MiB")
}

func TestParsingIsSafeForConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				s, err := statement.Parse("SELECT a FROM t WHERE b = $1")
				if assert.NoError(t, err) {
					assert.Len(t, s.Uses(), 2)
					assert.NotEmpty(t, s.Fingerprint())
				}
			}
		})
	}
	wg.Wait()
}

var initialised = regexp.MustCompile(`init (\S+) @\S+ ms, (\S+) ms clock`)

func TestImportingStartsNoParser(t *testing.T) {
	c := exec.Command(os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := c.CombinedOutput()
	require.NoError(t, err)
	total, packages := 0.0, 0
	for _, m := range initialised.FindAllStringSubmatch(string(out), -1) {
		if regexp.MustCompile(`pg_query|pgquery|wazero|migrations/statement`).MatchString(m[1]) {
			spent, err := strconv.ParseFloat(m[2], 64)
			require.NoError(t, err)
			total, packages = total+spent, packages+1
		}
	}
	assert.Positive(t, packages)
	assert.Less(t, total, 100.0, "ms; starting it takes 1000")
}

func BenchmarkFirstParse(b *testing.B) {
	for b.Loop() {
		c := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkWarm$", "-test.benchtime=1x")
		out, err := c.CombinedOutput()
		require.NoError(b, err)
		m := regexp.MustCompile(`(\d+) ns/op`).FindSubmatch(out)
		require.NotNil(b, m, string(out))
		ns, _ := strconv.Atoi(string(m[1]))
		b.ReportMetric(time.Duration(ns).Seconds(), "s/first")
	}
}

func BenchmarkWarm(b *testing.B) {
	for b.Loop() {
		statement.Warm()
	}
}

func BenchmarkParse(b *testing.B) {
	statement.Warm()
	for name, sql := range map[string]string{
		"select": `SELECT u.id, u.email, o.total FROM users u JOIN orders o ON o.user_id = u.id WHERE u.team_id = $1 AND o.state IN ($2, $3) ORDER BY o.created DESC LIMIT $4`,
		"alter":  `ALTER TABLE users ADD COLUMN email text, ALTER COLUMN name SET NOT NULL`,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := statement.Parse(sql)
				require.NoError(b, err)
				s.Class()
				s.Uses()
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, q := range queries {
		f.Add(q.sql)
	}
	for _, sql := range inTransaction {
		f.Add(sql)
	}
	for _, form := range forms {
		f.Add(nested(form, 3))
	}
	f.Add("DO $$ BEGIN IF a THEN EXECUTE 'x' || y; END IF; END $$")
	statement.Warm() // in a worker that is instrumented it takes so long that it would count as hanging
	f.Fuzz(func(t *testing.T, sql string) {
		for _, s := range statement.File([]string{"CREATE TABLE t (a int)", sql, sql}) {
			if s.Err() != nil && strings.Contains(s.Err().Error(), "abnormally") {
				t.Fatal(s.Err())
			}
			s.Class()
			s.Why()
			s.Kind()
			s.Locks()
			s.Tables()
			s.Uses()
			s.Parameters()
			s.Limits()
			s.Writes()
			s.Inserts()
			s.Makes()
			s.Removes()
			if inverse, ok := s.Inverse(); ok && inverse != "" {
				if _, err := statement.Parse(inverse); err != nil {
					t.Fatalf("%q is taken back by %q: %v", sql, inverse, err)
				}
			}
		}
	})
}
