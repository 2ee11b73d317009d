package script

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
)

func TestValuesOfRowsAreLeftOut(t *testing.T) { // the texts are PostgreSQL's, of versions 15 to 18
	const secret = "Ada"
	tests := []struct {
		name  string
		given pgconn.PgError
		want  pgconn.PgError
	}{
		{"a value that cannot be read", pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type uuid: "Ada"`}, pgconn.PgError{Code: "22P02", Message: "invalid input syntax for type uuid: …"}},
		{"a value with a quotation mark", pgconn.PgError{Code: "22P02", Message: `invalid input value for enum mood: "A" or "Ada"`}, pgconn.PgError{Code: "22P02", Message: "invalid input value for enum mood: …"}},
		{"a value of two lines", pgconn.PgError{Code: "22P02", Message: "malformed array literal: \"{\nAda\""}, pgconn.PgError{Code: "22P02", Message: "malformed array literal: …"}},
		{"a literal of the file", pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "abc"`, Position: 8}, pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "abc"`, Position: 8}},
		{"no JSON", pgconn.PgError{Code: "22P02", Message: "invalid input syntax for type json", Detail: `Token "Ada" is invalid.`, Where: "JSON data, line 1: Ada...\nSQL function \"f\" statement 1"},
			pgconn.PgError{Code: "22P02", Message: "invalid input syntax for type json", Where: `SQL function "f" statement 1`}},
		{"no XML", pgconn.PgError{Code: "2200N", Message: "invalid XML content", Detail: "line 1: Start tag expected\nAda\n^"}, pgconn.PgError{Code: "2200N", Message: "invalid XML content"}},
		{"too many digits", pgconn.PgError{Code: "22003", Message: "numeric field overflow", Detail: "A field with precision 2, …"}, pgconn.PgError{Code: "22003", Message: "numeric field overflow", Detail: "A field with precision 2, …"}},
		{"a row of a file", pgconn.PgError{Code: "22P02", Message: `invalid input syntax for type integer: "Ada"`, Where: `COPY people, line 1, column id: "Ada"`},
			pgconn.PgError{Code: "22P02", Message: "invalid input syntax for type integer: …", Where: "COPY people, line 1, column id"}},
		{"a key that is there twice", pgconn.PgError{Code: "23505", Message: "m", Detail: "Key (name)=(Ada) already exists."}, pgconn.PgError{Code: "23505", Message: "m"}},
		{"a row that a view does not show", pgconn.PgError{Code: "44000", Message: "m", Detail: "Failing row contains (Ada)."}, pgconn.PgError{Code: "44000", Message: "m"}},
		{"a statement put together", pgconn.PgError{Code: "42601", Message: "m", InternalQuery: "SELECT Ada", Where: "SQL statement \"SELECT\n'Ada'\"\nPL/pgSQL function f() line 1 at EXECUTE"},
			pgconn.PgError{Code: "42601", Message: "m", Where: "PL/pgSQL function f() line 1 at EXECUTE"}},
		{"what others depend on", pgconn.PgError{Code: "2BP01", Message: "m", Detail: "view v depends on table t"}, pgconn.PgError{Code: "2BP01", Message: "m", Detail: "view v depends on table t"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			given := tt.given
			got := Discreet(&given)
			assert.Equal(t, tt.want, *got)
			assert.Equal(t, tt.given, given, "the error itself is left as it was")
			assert.NotContains(t, (&Error{File: "f", Cause: got}).Error(), secret)
		})
	}
}
