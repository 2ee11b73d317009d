package checksum

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
)

func TestChangeIsDeclared(t *testing.T) {
	rows := Change{Schema: "public", Table: "users", Kind: RowsAdded}
	email := Change{Schema: "public", Table: "users", Column: "email", Kind: ValuesChanged}
	odd := Change{Schema: `Odd "S`, Table: "a.b", Column: "C", Kind: ValuesChanged}
	tests := []struct {
		change   Change
		declared string
		want     bool
	}{
		{rows, "users", true},
		{rows, "public.users", true},
		{rows, "Public.USERS", true},
		{rows, `"Public".users`, false},
		{rows, `"public"."users"`, true},
		{rows, "other.users", false},
		{rows, "users.email", false},
		{rows, "user", false},
		{email, "users", true},
		{email, "public.users", true},
		{email, "users.email", true},
		{email, "users.Email", true},
		{email, `users."Email"`, false},
		{email, "public.users.email", true},
		{email, "public . users . email", true},
		{email, "users.name", false},
		{email, "email", false},
		{email, "public.email", false},
		{email, "other.users.email", false},
		{email, "", false},
		{odd, `"a.b"`, true},
		{odd, `"a.b"."C"`, true},
		{odd, `"a.b".C`, false},
		{odd, `"Odd ""S"."a.b"."C"`, true},
		{odd, `a.b`, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s by %s", tt.change, tt.declared), func(t *testing.T) {
			assert.Equal(t, tt.want, tt.change.Declared([]string{"else", tt.declared}))
		})
	}
	assert.False(t, rows.Declared(nil))
}

// Whatever the names are, written as SQL takes them they are read back.
func FuzzIdentifiers(f *testing.F) {
	f.Add("public", "users")
	f.Add(`Odd "Schema`, "a.b")
	f.Add("", " ")
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ReplaceAll(a, "\x00", ""), strings.ReplaceAll(b, "\x00", "") // no name has one; pgx leaves it out
		require.Equal(t, []string{a, b}, identifiers(pg.Name(a, b)))
	})
}
