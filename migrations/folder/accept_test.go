package folder

import (
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

func with(folder fstest.MapFS, pairs ...string) fstest.MapFS {
	for i := 0; i < len(pairs); i += 2 {
		folder[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return folder
}

// sequence is what runs, file by file.
func sequence(s *Source) []string {
	var list []string
	for _, m := range s.Migrations() {
		line := m.Name + ":"
		for _, f := range m.Files {
			line += " " + f.Name
		}
		list = append(list, line)
	}
	return list
}

func TestAcceptedFilesRunWithTheMigrationTheyFollow(t *testing.T) {
	drizzle := func() fstest.MapFS {
		return pgtest.Files("meta/_journal.json", pgtest.Journal("0 100 0000_a", "1 200 0001_b"), "0000_a.sql", "SELECT 1", "0001_b.sql", "SELECT 2")
	}
	tests := []struct {
		name   string
		folder fstest.MapFS
		accept []Accept
		want   []string
	}{
		{"SQL beside a journal", with(drizzle(), "m/0001_x.sql", "SELECT 3", "m/0001_x.verify.sql", "SELECT 1"), []Accept{{"m/0001_x.sql", "0000_a"}},
			[]string{"0000_a: m/0000_a.sql m/0001_x.sql", "0001_b: m/0001_b.sql"}},
		{"another folder's, in the order in which they are listed", with(drizzle(), "server/migrations/001_init.sql", "SELECT 3", "server/migrations/002_more.sql", "SELECT 4", "server/migrations/003_last.sql", "SELECT 5"),
			[]Accept{{"server/migrations/002_more.sql", ""}, {"server/migrations/001_init.sql", ""}, {"server/migrations/003_last.sql", "0001_b"}},
			[]string{"0000_a: server/migrations/002_more.sql server/migrations/001_init.sql m/0000_a.sql", "0001_b: m/0001_b.sql server/migrations/003_last.sql"}},
		{"the second with a number", pgtest.Files("002_x.sql", "SELECT 1", "003_a.sql", "SELECT 1", "003_b.sql", "SELECT 1"), []Accept{{"m/003_b.sql", "003_a"}},
			[]string{"002_x: m/002_x.sql", "003_a: m/003_a.sql m/003_b.sql"}},
		{"the first with a number", pgtest.Files("002_x.sql", "SELECT 1", "003_a.sql", "SELECT 1", "003_b.sql", "SELECT 1"), []Accept{{"m/003_a.sql", "003_b"}},
			[]string{"002_x: m/002_x.sql", "003_b: m/003_b.sql m/003_a.sql"}},
		{"both with a number", pgtest.Files("002_x.sql", "SELECT 1", "003_a.sql", "SELECT 1", "003_b.sql", "SELECT 1"), []Accept{{"m/003_b.sql", "002_x"}, {"m/003_a.sql", "002_x"}},
			[]string{"002_x: m/002_x.sql m/003_b.sql m/003_a.sql"}},
		{"the second of a pair's version", pgtest.Files("1_a.up.sql", "SELECT 1", "01_b.up.sql", "SELECT 1", "01_b.down.sql", "SELECT 1", "2_c.sql", "SELECT 1", "2_c.down.sql", "SELECT 1", "2_c.verify.sql", "SELECT 1"),
			[]Accept{{"m/01_b.up.sql", "1_a"}, {"m/2_c.sql", "1_a"}}, []string{"1_a: m/1_a.up.sql m/01_b.up.sql m/2_c.sql"}},
		{"two folders of one second, and SQL in none", pgtest.Files("20260102030406_b/migration.sql", "SELECT 1", "20260102030406_c/migration.sql", "SELECT 1", "e.sql", "SELECT 1", "early_d/migration.sql", "SELECT 1"),
			[]Accept{{"m/20260102030406_b/migration.sql", "20260102030406_c"}, {"m/e.sql", "20260102030406_c"}, {"m/early_d/migration.sql", ""}},
			[]string{"20260102030406_c: m/early_d/migration.sql m/20260102030406_c/migration.sql m/20260102030406_b/migration.sql m/e.sql"}},
		{"a dump without a number", pgtest.Files("001_a.sql", "SELECT 1", "schema.sql", "SELECT 1"), []Accept{{"m/schema.sql", ""}}, []string{"001_a: m/schema.sql m/001_a.sql"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Open(tt.folder, Options{Dir: "m", Accept: tt.accept})
			require.NoError(t, err)
			assert.Equal(t, tt.want, sequence(s))
			for _, m := range s.Migrations() {
				up, _, err := s.ReadUp(uint(m.Version))
				require.NoError(t, err)
				body, err := io.ReadAll(up)
				require.NoError(t, err)
				assert.Equal(t, m.SHA256, Hash(body))
				read, err := s.Script(m, Up)
				require.NoError(t, err)
				assert.Len(t, read.Statements, m.Statements)
				if len(m.Files) > 1 {
					var parts []script.Part
					var want []string
					for _, f := range m.Files {
						parts, want = append(parts, script.Part{File: f.Name, Body: string(tt.folder[f.Name].Data)}), append(want, f.Name)
						assert.Equal(t, Hash(tt.folder[f.Name].Data), f.SHA256)
					}
					assert.Equal(t, script.Join(parts...), string(body))
					assert.Equal(t, want, read.Files())
				}
			}
		})
	}
}

func TestAcceptedFilesAreChecked(t *testing.T) {
	folder := with(pgtest.Files("001_a.sql", "SELECT 1", "002_b.sql", "SELECT 2", "002_c.sql", "SELECT 1", "002_c.down.sql", "SELECT 1"),
		"server/open.sql", "SELECT 'a", "server/empty.sql", "-- nothing", "server/both.sql", "SELECT 1;\n-- +goose Down\nSELECT 2", "server/spoof.sql", "SELECT 1\n-- deploy: file x\n",
		"server/comment.sql", "SELECT 1 /* a", "server/notes.md", "", "server/half.sql", "SELECT E'a'", "server/other.sql", "'b'", "server/commit.sql", "SELECT 1;\n COMMIT")
	const c = `{file: m/002_c.sql, after: "002_b"}`
	tests := []struct {
		name   string
		accept []Accept
		want   []string
	}{
		{"nothing is accepted", nil, []string{"m/002_c.sql: number 2 is also that of m/002_b.sql: give the one that was not applied a number of its own, or, where it has been applied everywhere, add " + c + " to database.accept"}},
		{"a file that is not there", []Accept{{"server/001.sql", ""}}, []string{"database.accept: server/001.sql: no such file: restore it, or remove the entry"}},
		{"a file twice", []Accept{{"m/002_c.sql", "002_b"}, {"m/002_c.sql", "001_a"}}, []string{"database.accept: m/002_c.sql: listed twice: remove one of the entries"}},
		{"a file that runs anyway", []Accept{{"m/001_a.sql", "002_b"}}, []string{"database.accept: m/001_a.sql: a part of the sequence anyway: remove the entry"}},
		{"a way back", []Accept{{"m/002_c.down.sql", "002_b"}}, []string{"database.accept: m/002_c.down.sql: the way back or the check of a migration: accept the migration itself"}},
		{"after nothing", []Accept{{"m/002_c.sql", "m/002_b.sql"}}, []string{`database.accept: m/002_c.sql: after: no migration is named "m/002_b.sql": write a name such as "002_b", or "" to run before all others`}},
		{"no path", []Accept{{"../x.sql", ""}, {"/m/002_c.sql", ""}, {`m\002_c.sql`, ""}}, []string{
			"database.accept: ../x.sql: no path within the application: write it relative to pipeline.yaml, as in migrations/003_name.sql",
			"database.accept: /m/002_c.sql: no path within the application: write it relative to pipeline.yaml, as in migrations/003_name.sql",
			`database.accept: m\002_c.sql: no path within the application: write it relative to pipeline.yaml, as in migrations/003_name.sql`}},
		{"no SQL", []Accept{{"server/notes.md", ""}}, []string{"database.accept: server/notes.md: no SQL: a migration ends in .sql"}},
		{"a file without a statement", []Accept{{"server/empty.sql", ""}}, []string{"server/empty.sql: the migration has no statement: write one or remove the migration"}},
		{"a file that goes on with the string before it", []Accept{{"server/half.sql", "001_a"}, {"server/other.sql", "001_a"}}, []string{
			"m/001_a.sql: together with server/half.sql it is not the 3 statements that the files are alone: begin each with a key word"}},
		{"an open quote", []Accept{{"server/open.sql", ""}}, []string{"server/open.sql: a quote or a comment is open at its end, and would swallow the file that runs after it: close it"}},
		{"an open comment", []Accept{{"server/comment.sql", ""}}, []string{"server/comment.sql: a quote or a comment is open at its end, and would swallow the file that runs after it: close it"}},
		{"both ways", []Accept{{"server/both.sql", ""}}, []string{"server/both.sql:2: what follows is the way back, and would run right after the way forward: move it to server/both.down.sql"}},
		{"a line that only joining writes", []Accept{{"server/spoof.sql", ""}}, []string{"server/spoof.sql: the comment `-- deploy: file` is written where files are joined, and nowhere else: remove the line"}},
		{"what cannot run", []Accept{{"server/commit.sql", "002_b"}}, []string{"server/commit.sql:2:2: a migration must not control transactions: the file runs in one, together with its version; remove the statement"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			accept := tt.accept
			if tt.accept != nil && tt.name != "after nothing" && tt.name != "a file twice" {
				accept = append(accept, Accept{"m/002_c.sql", "002_b"})
			}
			_, err := Open(folder, Options{Dir: "m", Accept: accept})
			require.Error(t, err)
			assert.ElementsMatch(t, tt.want, strings.Split(err.Error(), "\n"))
		})
	}
}

func TestAFolderOfAcceptedFilesAloneIsNone(t *testing.T) {
	_, err := Open(pgtest.Files("1_a.sql", "SELECT 1", "1_b.sql", "SELECT 1"), Options{Dir: "m", Accept: []Accept{{"m/1_a.sql", "x"}, {"m/1_b.sql", ""}}})
	assert.EqualError(t, err, "m: no migrations")
}

func TestSeveralFilesGoBackTogetherOrNotAtAll(t *testing.T) {
	folder := pgtest.Files("1_a.sql", "SELECT 1", "1_a.down.sql", "SELECT 10", "1_b.sql", "SELECT 2", "1_b.down.sql", "SELECT 20")
	options := Options{Dir: "m", Accept: []Accept{{"m/1_b.sql", "1_a"}}}
	s, err := Open(folder, options)
	require.NoError(t, err)
	m := s.Migrations()[0]
	down, err := s.Script(m, Down)
	require.NoError(t, err)
	assert.Equal(t, []string{"m/1_b.down.sql", "m/1_a.down.sql"}, down.Files())
	assert.Equal(t, "SELECT 20", down.SQL(0))
	assert.Equal(t, "m/1_a.down.sql", m.Down)

	delete(folder, "m/1_b.down.sql")
	s, err = Open(folder, options)
	require.NoError(t, err)
	assert.Empty(t, s.Migrations()[0].Down)
	_, err = s.Script(s.Migrations()[0], Down)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, _, err = s.ReadDown(1)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestAcceptEntryIsYAML(t *testing.T) {
	assert.Equal(t, `{file: m/1_a.sql, after: "0003"}`, Accept{"m/1_a.sql", "0003"}.String())
	assert.Equal(t, `{file: "m/a: b, c.sql", after: ""}`, Accept{"m/a: b, c.sql", ""}.String())
}

func TestInspectReadsWhatOpenRefuses(t *testing.T) {
	folder := pgtest.Files("1_a.sql", "SELECT 1", "1_b.sql", "SELECT 2", "schema.sql", "SELECT 3")
	s, irregular, err := Inspect(folder, Options{Dir: "m"})
	require.NoError(t, err)
	assert.Equal(t, []string{"1_a: m/1_a.sql"}, sequence(s))
	var files []string
	for _, i := range irregular {
		files = append(files, i.File+" "+i.Beside)
	}
	assert.ElementsMatch(t, []string{"m/1_b.sql 1_a", "m/schema.sql 1_b"}, files)
	_, _, err = Inspect(pgtest.Files("1_a.sql", "COMMIT"), Options{Dir: "m"})
	require.Error(t, err)
}
