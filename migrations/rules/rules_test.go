package rules_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rules"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

var update = flag.Bool("update", false, "write testdata/hints.golden")

func TestMain(m *testing.M) { pgtest.Main(m) }

// check gives the hints for a text.
func check(t testing.TB, file, sql string, options rules.Options) []finding.Finding {
	t.Helper()
	s, err := script.Parse(file, sql)
	require.NoError(t, err)
	found, err := rules.Check(s, options)
	require.NoError(t, err)
	return found
}

// files are the SQL files of testdata, their texts by name.
func files(t testing.TB) (names []string, texts map[string]string) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.sql")
	require.NoError(t, err)
	texts = map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		names = append(names, filepath.Base(path))
		texts[filepath.Base(path)] = string(text)
	}
	return names, texts
}

func TestHintsReadAsTheyShould(t *testing.T) {
	var b strings.Builder
	names, texts := files(t)
	for _, name := range names {
		fmt.Fprintf(&b, "=== %s\n%s", name, texts[name])
		for _, f := range check(t, name, texts[name], rules.Options{}) {
			assert.Equal(t, finding.Static, f.Basis)
			fmt.Fprintf(&b, "--- %s %s", f.Level, f)
			if f.Object != "" {
				fmt.Fprintf(&b, " [%s]", f.Object)
			}
			fmt.Fprintf(&b, "\n%s\n", f.Fix)
		}
		b.WriteByte('\n')
	}
	golden := filepath.Join("testdata", "hints.golden")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String(), "go test ./migrations/rules -update, and read the difference")
}

func TestRecipesAreSQL(t *testing.T) {
	names, texts := files(t)
	recipes := 0
	for _, name := range names {
		for _, f := range check(t, name, texts[name], rules.Options{}) {
			if f.Name == "not-understood" {
				continue
			}
			if f.Name == "ban-drop-database" || f.Fix != "" {
				recipes++
			}
			for _, batched := range backfillFile.FindAllString(f.Fix, -1) {
				s, err := script.Parse(name, batched)
				require.NoError(t, err, f.Fix)
				assert.NotNil(t, s.Declared.Backfill)
			}
			s, err := script.Parse(name, withoutBackfill(f.Fix))
			require.NoError(t, err, f.Fix)
			for i := range s.Statements {
				if strings.Contains(s.SQL(i), "…") { // what only people know
					continue
				}
				_, err := statement.Parse(s.SQL(i))
				assert.NoError(t, err, "%s: %s:\n%s", name, f.Name, f.Fix)
			}
		}
	}
	assert.Greater(t, recipes, 80)
}

var backfillFile = regexp.MustCompile(`(?s)-- deploy: backfill.*?;`)

// withoutBackfill is a recipe without the line that says that the statement after it is a file of its own.
func withoutBackfill(fix string) string {
	var lines []string
	for line := range strings.Lines(fix) {
		if !strings.HasPrefix(line, "-- deploy: backfill") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// hints are the names of hints with their levels, in order.
func hints(found []finding.Finding) string {
	var list []string
	for _, f := range found {
		list = append(list, fmt.Sprintf("%s %s", f.Level, f.Name))
	}
	return strings.Join(list, ", ")
}

func TestOptionsMakeHintsExact(t *testing.T) {
	sized := func(rows int64) rules.Options {
		return rules.Options{Knows: func(n statement.Name) (int64, bool) { return rows, n.Name != "unknown" }}
	}
	typed := func(typ string) rules.Options {
		return rules.Options{Columns: func(n statement.Name, column string) (string, bool) { return typ, column != "unknown" }}
	}
	tests := []struct {
		name    string
		sql     string
		options rules.Options
		want    string
	}{
		{"one whose rows nobody has counted may not be", "ALTER TABLE t ALTER a SET NOT NULL", sized(-1), "warn adding-not-nullable-field"},
		{"a small table is soon looked at", "ALTER TABLE t ALTER a SET NOT NULL", sized(100), "note adding-not-nullable-field"},
		{"a large one is not", "ALTER TABLE t ALTER a SET NOT NULL", sized(1_000_000), "warn adding-not-nullable-field"},
		{"old code fails however small the table is", "ALTER TABLE t RENAME TO u", sized(1), "warn renaming-table"},
		{"a required column cannot be added to rows", "ALTER TABLE t ADD a text NOT NULL", sized(5), "refuse adding-required-field"},
		{"but to none", "ALTER TABLE t ADD a text NOT NULL", sized(0), "warn adding-required-field"},
		{"part of a large table is changed", "UPDATE t SET a = 1 WHERE b = 2", sized(1_000_000), "warn unbatched-backfill"},
		{"part of a middling one", "UPDATE t SET a = 1 WHERE b = 2", sized(50_000), ""},
		{"all of a small one", "UPDATE t SET a = 1", sized(50), "note unbatched-backfill"},
		{"a table that is not there is made", "CREATE TABLE IF NOT EXISTS unknown (a text); CREATE INDEX ON unknown (a)", sized(5), ""},
		{"one that is there is not", "CREATE TABLE IF NOT EXISTS t (a text); CREATE INDEX ON t (a)", sized(50_000), "warn require-concurrent-index-creation"},
		{"a wider varchar", "ALTER TABLE t ALTER a TYPE varchar(100)", typed("character varying(50)"), "note prefer-text-field"},
		{"a narrower one", "ALTER TABLE t ALTER a TYPE varchar(20)", typed("character varying(50)"), "warn changing-column-type, note prefer-text-field"},
		{"of unknown type", "ALTER TABLE t ALTER unknown TYPE text", typed("text"), "warn changing-column-type"},
		{"widened by what may compute anything", "ALTER TABLE t ALTER a TYPE text USING upper(a)", typed("character varying(50)"), "warn changing-column-type"},
		{"under UTC alone", "ALTER TABLE t ALTER a TYPE timestamptz", typed("timestamp without time zone"), "warn changing-column-type"},
		{"no DEFAULT without a rewrite before PostgreSQL 11", "ALTER TABLE t ADD a text DEFAULT 'x'", rules.Options{Major: 10}, "warn adding-field-with-default"},
		{"no proof by a CHECK before PostgreSQL 12", "ALTER TABLE t VALIDATE CONSTRAINT c; ALTER TABLE t ALTER a SET NOT NULL", rules.Options{Major: 11}, "warn adding-not-nullable-field"},
		{"no REINDEX CONCURRENTLY before PostgreSQL 12", "REINDEX TABLE t", rules.Options{Major: 11}, ""},
		{"no DETACH CONCURRENTLY before PostgreSQL 14", "ALTER TABLE t DETACH PARTITION p", rules.Options{Major: 13}, ""},
		{"REPACK from PostgreSQL 19", "VACUUM FULL t", rules.Options{Major: 19}, "warn prefer-repack"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, hints(check(t, "f.sql", tt.sql, tt.options)))
		})
	}
}

func TestPlacesAreThoseOfTheFile(t *testing.T) {
	sql := "-- a file\n\nALTER TABLE t\n  ADD COLUMN a text,\n  ADD COLUMN b uuid\n    DEFAULT gen_random_uuid();\n\nDO $$\nBEGIN\n\n  DROP TABLE u;\nEND $$;\nALTER TABLE t ADD é int GENERATED\n ALWAYS AS (1) VIRTUAL;\n"
	var got []string
	for _, f := range check(t, "migrations/1_a.up.sql", sql, rules.Options{}) {
		got = append(got, fmt.Sprintf("%s %s %d", f.Place(), f.Name, f.Statement))
	}
	assert.Equal(t, []string{
		"migrations/1_a.up.sql:5 adding-field-with-default 1",
		"migrations/1_a.up.sql:11 ban-drop-table 2",
		"migrations/1_a.up.sql:11 undeclared-irreversible 2",
		"migrations/1_a.up.sql:14 not-understood 3",
	}, got)

	joined := script.Join(script.Part{File: "a.sql", Body: "SELECT 1;"}, script.Part{File: "b.sql", Body: "\nDROP TABLE u;"})
	found := check(t, "x.sql", joined, rules.Options{})
	assert.Equal(t, "b.sql:2", found[0].Place())
}

func TestTransactionsEndWhereTheFileDoes(t *testing.T) {
	tests := []struct{ name, sql, want string }{
		{"a long statement after a lock", "ALTER TABLE t ADD a text; UPDATE u SET b = 1", "warn unbatched-backfill, warn long-statement-under-lock"},
		{"before it", "UPDATE u SET b = 1; ALTER TABLE t ADD a text", "warn unbatched-backfill"},
		{"without a transaction", "-- deploy: no-transaction\nALTER TABLE t ADD a text; UPDATE u SET b = 1", "warn unbatched-backfill"},
		{"a lock on a new table keeps nobody waiting", "CREATE TABLE t (a text); ALTER TABLE t ADD b text; UPDATE u SET b = 1", "warn unbatched-backfill"},
		{"what locks the table itself takes no longer for it", "ALTER TABLE t ADD a text; ALTER TABLE t ALTER b SET NOT NULL", "warn adding-not-nullable-field"},
		{"one row is soon written", "ALTER TABLE t ADD a text; INSERT INTO u VALUES (1)", ""},
		{"several tables at once", "ALTER TABLE t ADD a text; ALTER TABLE u ADD a text", ""},
		{"a label used at once", "ALTER TYPE m ADD VALUE 'x' BEFORE 'y'; ALTER TABLE t ALTER a SET DEFAULT 'x'", "warn enum-value-used-at-once"},
		{"a label used later", "-- deploy: no-transaction\nALTER TYPE m ADD VALUE 'x' BEFORE 'y'; ALTER TABLE t ALTER a SET DEFAULT 'x'", ""},
		{"a label of a new type", "CREATE TYPE m AS ENUM ('y'); ALTER TYPE m ADD VALUE 'x'; CREATE TABLE t (a m DEFAULT 'x')", ""},
		{"validated in a later file", "ALTER TABLE t VALIDATE CONSTRAINT c", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, hints(check(t, "f.sql", tt.sql, rules.Options{})))
		})
	}
}

func FuzzCheck(f *testing.F) {
	_, texts := files(f)
	for _, text := range texts {
		f.Add(text)
	}
	statement.Warm()
	f.Fuzz(func(t *testing.T, text string) {
		s, err := script.Parse("f.sql", text)
		if err != nil {
			return
		}
		found, err := rules.Check(s, rules.Options{Knows: func(n statement.Name) (int64, bool) { return int64(len(n.Name)) * 9999, len(n.Name)%2 == 0 }})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(text, "\n") + 1
		for _, h := range found {
			if h.Line < 1 || h.Line > lines || h.Statement < 1 || h.Statement > len(s.Statements) || h.Message == "" {
				t.Fatalf("%+v in %d lines", h, lines)
			}
		}
	})
}
