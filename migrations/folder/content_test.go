package folder

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

func TestEveryFormatHasAPlaceForChecks(t *testing.T) {
	tests := []struct {
		name string
		file string // the migration
		want string // its check
		more []string
	}{
		{"pairs", "1_a.up.sql", "m/1_a.verify.sql", nil},
		{"numbered files", "1_a.sql", "m/1_a.verify.sql", nil},
		{"drizzle with a journal", "0000_a.sql", "m/0000_a.verify.sql", []string{"meta/_journal.json", pgtest.Journal("0 100 0000_a")}},
		{"drizzle with folders", "20260102030405_a/migration.sql", "m/20260102030405_a/verify.sql", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check := strings.TrimPrefix(tt.want, "m/")
			folder := pgtest.Files(append([]string{tt.file, "-- deploy: irreversible rows are gone\nDELETE FROM t", check, "SELECT 1/count(*) FROM t; DO $$ BEGIN PERFORM 1; END $$"}, tt.more...)...)
			s, err := Open(folder, Options{Dir: "m"})
			require.NoError(t, err)
			m := s.Migrations()[0]
			assert.Equal(t, tt.want, m.Verify)
			assert.Equal(t, "rows are gone", m.Declared.Irreversible)
			verify, err := s.Script(m, Verify)
			require.NoError(t, err)
			assert.Equal(t, tt.want, verify.File)
			assert.Len(t, verify.Statements, 2)

			delete(folder, tt.want)
			s, err = Open(folder, Options{Dir: "m"})
			require.NoError(t, err)
			assert.Empty(t, s.Migrations()[0].Verify)
			_, err = s.Script(s.Migrations()[0], Verify)
			require.ErrorIs(t, err, fs.ErrNotExist)
		})
	}
}

func TestChecksThatCouldNotBeUndoneAreRefused(t *testing.T) {
	for body, want := range map[string]string{
		"SELECT 1;\nCOMMIT":                     "m/1_a.verify.sql:2:1: a migration must not control transactions: the file runs in one, together with its version; remove the statement",
		"\nVACUUM t":                            "m/1_a.verify.sql:2: a check runs in a transaction that is rolled back, and this statement cannot run in one: remove it",
		"-- deploy: no-transaction\nSELECT 1":   "m/1_a.verify.sql: a check runs in a transaction that is rolled back: remove the declaration that it runs otherwise",
		"-- nothing":                            "m/1_a.verify.sql: the check has no statement: write one or remove the file",
		"SELECT 1; -- deploy: file m/other.sql": "",
		"-- deploy: file m/other.sql\nSELECT 1": "m/1_a.verify.sql: the comment `-- deploy: file` is written where files are joined, and nowhere else: remove the line",
	} {
		_, err := Open(pgtest.Files("1_a.sql", "SELECT 1", "1_a.verify.sql", body), Options{Dir: "m"})
		if want == "" {
			assert.ErrorContains(t, err, `-- deploy: "file" is unknown`, body)
			continue
		}
		assert.EqualError(t, err, want, body)
	}
}

func TestChecksOfSeveralFilesRunOneAfterTheOther(t *testing.T) {
	folder := pgtest.Files("1_a.sql", "SELECT 1", "1_b.sql", "SELECT 2", "1_b.verify.sql", "SELECT 20", "1_a.verify.sql", "SELECT 10")
	s, err := Open(folder, Options{Dir: "m", Accept: []Accept{{"m/1_b.sql", "1_a"}}})
	require.NoError(t, err)
	verify, err := s.Script(s.Migrations()[0], Verify)
	require.NoError(t, err)
	assert.Equal(t, []string{"m/1_a.verify.sql", "m/1_b.verify.sql"}, verify.Files())
	assert.Equal(t, "m/1_a.verify.sql", s.Migrations()[0].Verify)
}

// What runs is what the folder holds when it runs, and the same checks are made again.
func TestFilesAreReadAnew(t *testing.T) {
	folder := pgtest.Files("1_a.sql", "SELECT 1", "1_b.sql", "SELECT 2")
	s, err := Open(folder, Options{Dir: "m", Accept: []Accept{{"m/1_b.sql", "1_a"}}})
	require.NoError(t, err)
	folder["m/1_a.sql"].Data = []byte("SELECT 1 /* open")
	_, _, err = s.ReadUp(1)
	require.EqualError(t, err, "m/1_a.sql: a quote or a comment is open at its end, and would swallow the file that runs after it: close it")
	delete(folder, "m/1_b.sql")
	_, _, err = s.ReadUp(1)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Positions survive joining: whatever two files hold, a migration of both is refused or holds the statements of each, at
// their places.
func FuzzTwoFiles(f *testing.F) {
	f.Add("SELECT 1", "SELECT 2")
	f.Add("SELECT E'a'", "'b'")
	f.Add("BEGIN;\nSELECT 'é'; COMMIT -- x", "\ufeffSELECT $$\n;\n$$;\n\n  SELECT 3")
	f.Add("SELECT (1", "SELECT 2)")
	f.Add("/* open", "*/ SELECT 1")
	f.Fuzz(func(t *testing.T, first, second string) {
		folder := pgtest.Files("1_a.sql", first, "1_b.sql", second)
		s, err := Open(folder, Options{Dir: "m", Format: Numbered, Accept: []Accept{{"m/1_b.sql", "1_a"}}})
		if err != nil {
			return
		}
		joined, err := s.Script(s.Migrations()[0], Up)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, name := range []string{"m/1_a.sql", "m/1_b.sql"} {
			alone, err := script.Parse(name, string(folder[name].Data))
			if err != nil {
				t.Fatal(errors.New("a file that cannot be read alone is read joined"), err)
			}
			for i := range alone.Statements {
				file, line, column := joined.Position(joined.Statements[at].Start)
				_, wantLine, wantColumn := alone.Position(alone.Statements[i].Start)
				if file != name || line != wantLine || column != wantColumn || joined.SQL(at) != alone.SQL(i) {
					t.Fatalf("%q is at %s:%d:%d, and %q at %s:%d:%d alone", joined.SQL(at), file, line, column, alone.SQL(i), name, wantLine, wantColumn)
				}
				at++
			}
		}
		if at != len(joined.Statements) {
			t.Fatalf("%d statements are at no place of a file", len(joined.Statements)-at)
		}
	})
}
