package script

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestJoinedFilesKeepTheirPlaces(t *testing.T) {
	text := Join(Part{"a.sql", "\ufeffBEGIN;\nSELECT 1;\n  SELECT 2;\nCOMMIT;"}, Part{"größe/b c.sql", "-- deploy: verify SELECT true\nSELECT 3"}, Part{"c.sql", "BEGIN; SELECT 4; END\n"})
	s, err := Parse("elsewhere.sql", text)
	require.NoError(t, err)
	assert.Equal(t, []string{"a.sql", "größe/b c.sql", "c.sql"}, s.Files())
	var places []any
	for i := range s.Statements {
		file, line := s.Place(i)
		places = append(places, []any{file, line, s.SQL(i)})
	}
	assert.Equal(t, []any{
		[]any{"a.sql", 2, "SELECT 1"}, []any{"a.sql", 3, "SELECT 2"}, []any{"größe/b c.sql", 2, "SELECT 3"}, []any{"c.sql", 1, "SELECT 4"},
	}, places)
	assert.Equal(t, []Query{{SQL: "SELECT true", File: "größe/b c.sql", Line: 1}}, s.Declared.Verify)

	alone, err := Parse("a.sql", "SELECT 1")
	require.NoError(t, err)
	assert.False(t, alone.Joined())
	assert.Equal(t, []string{"a.sql"}, alone.Files())
}

func TestFaultsInJoinedFilesNameTheFile(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"a statement", "SELECT 1;\n  ROLLBACK;", "b.sql:2:3: a migration must not control transactions: the file runs in one, together with its version; remove the statement"},
		{"a command of psql", "\\x", "b.sql:1:1: a command of psql, which only psql knows: remove the line"},
		{"a declaration", "SELECT 1;\n-- deploy: allow x", "b.sql:2:1: -- deploy: allow: write `-- deploy: allow FINDING REASON`"},
		{"a backfill", "\n-- deploy: backfill t by id\nUPDATE t SET a = 1", "b.sql:2: a backfill is one statement, and the file has 2: put the others into migrations of their own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("m.sql", Join(Part{"a.sql", "SELECT 'é'"}, Part{"b.sql", tt.body}))
			assert.EqualError(t, err, tt.want)
		})
	}
}

func TestServersErrorsInJoinedFilesNameTheFile(t *testing.T) {
	conn := pgtest.Session(t, pgtest.Server(t))
	s, err := Parse("m.sql", Join(Part{"日本/a.sql", "SELECT 'é'"}, Part{"日本/b.sql", "SELECT 'ü';\n\tSELECT '日', nope\n"}))
	require.NoError(t, err)
	_, err = conn.PgConn().Exec(context.Background(), s.Text).ReadAll()
	var server *pgconn.PgError
	require.ErrorAs(t, err, &server)
	assert.Equal(t, `日本/b.sql:2:14: column "nope" does not exist (42703)
    2 | `+"\tSELECT '日', nope\n      | \t            ^", s.Explain(server, 0, 2).Error())
	server.Position = 0
	assert.Equal(t, "日本/b.sql:1: column \"nope\" does not exist (42703)\n    1 | SELECT 'ü';", s.Explain(server, 0, 1).Error())
}

func TestJoinedFilesRunAsPostgreSQLRunsThemAlone(t *testing.T) {
	conn := pgtest.Session(t, pgtest.Server(t))
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var parts []Part
		want := 0
		for _, name := range []string{"a", "ü", "c"} {
			text, statements := randomSQL(r)
			parts, want = append(parts, Part{name + ".sql", strings.TrimRight(text, ";")}), want+statements
		}
		s, err := Parse("m.sql", Join(parts...))
		require.NoError(t, err, "seed %d", seed)
		require.Len(t, s.Statements, want, "seed %d", seed)
		results, err := conn.PgConn().Exec(context.Background(), s.Text).ReadAll()
		require.NoError(t, err, "seed %d: %s", seed, s.Text)
		completed := 0
		for _, result := range results {
			if result.CommandTag.Select() {
				completed++
			}
		}
		require.Equal(t, want, completed, "seed %d: %s", seed, s.Text)
	}
}

// closed says that no quote, comment or parenthesis is open at the end of a text, and that it does not begin with the
// continuation of a string.
func closed(text string) bool {
	after := split(text + "\n;SELECT 1").statements
	first := split(text).statements
	return len(after) == len(first)+1 && (len(first) == 0 || text[first[0].Start] != '\'')
}

func FuzzJoin(f *testing.F) {
	f.Add("SELECT 1; SELECT 'é'", "BEGIN;\n\n SELECT $$;$$;\r\nCOMMIT", "x.sql")
	f.Add("\ufeffSELECT 1 -- x", "SELECT E'a'\n'b'", "ü/ y.sql")
	f.Add("/* /* */", "\r\n\tSELECT 1", "")
	f.Add("SELECT 1;--> statement-breakpoint", "--> statement-breakpoint\nSELECT 2", "-- deploy: file z")
	f.Fuzz(func(t *testing.T, first, second, name string) {
		if strings.ContainsAny(name, "\n\r\x00") || !utf8.ValidString(name) || !closed(first) || !closed(second) {
			return
		}
		parts := []Part{{"first.sql", first}, {name, second}, {"first.sql", first}}
		joined, joinedErr := Parse("m.sql", Join(parts...))
		at := 0
		for _, part := range parts {
			alone, err := Parse(part.File, part.Body)
			if err != nil || alone.Joined() || alone.Declared.Backfill != nil {
				return // refused, joined or not; nobody joins what is joined
			}
			if joinedErr != nil {
				continue
			}
			for i := range alone.Statements {
				if at == len(joined.Statements) {
					t.Fatalf("statement %d of %q is lost", i, part.File)
				}
				file, line, column := joined.Position(joined.Statements[at].Start)
				wantFile, wantLine, wantColumn := alone.Position(alone.Statements[i].Start)
				if file != wantFile || line != wantLine || column != wantColumn || joined.SQL(at) != alone.SQL(i) {
					t.Fatalf("%q is at %s:%d:%d, and %q at %s:%d:%d alone", joined.SQL(at), file, line, column, alone.SQL(i), wantFile, wantLine, wantColumn)
				}
				at++
			}
		}
		if joinedErr != nil {
			t.Fatalf("each file can be read, and together they cannot: %v", joinedErr)
		}
		if at != len(joined.Statements) || len(joined.Text) != len(joined.Source) {
			t.Fatalf("%d statements of %d, text of %d bytes instead of %d", at, len(joined.Statements), len(joined.Text), len(joined.Source))
		}
	})
}
