package compat

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/finding"
)

func TestContractStepsBelongIntoTheReleaseAfter(t *testing.T) {
	tests := []struct {
		name, step string
		statements []string
		want       []string
	}{
		{"an additive step", "ALTER TABLE users ADD COLUMN more int", []string{"SELECT id FROM users"}, nil},
		{"a column that is read", "ALTER TABLE users DROP COLUMN legacy", []string{"SELECT u.legacy FROM users u"}, []string{"refuse contract-too-early column users.legacy"}},
		{"a column that is written", "ALTER TABLE public.users DROP COLUMN legacy", []string{"UPDATE users SET legacy = $1"}, []string{"refuse contract-too-early column public.users.legacy"}},
		{"a column that is listed by an INSERT", "ALTER TABLE users DROP COLUMN legacy", []string{"INSERT INTO users (id, legacy) VALUES ($1, default)"}, []string{"refuse contract-too-early column users.legacy"}},
		{"a column that may be another table's", "ALTER TABLE users DROP COLUMN legacy", []string{"SELECT legacy FROM orders JOIN users ON user_id = users.id"}, []string{"refuse contract-too-early column users.legacy"}},
		{"a column among all of them", "ALTER TABLE users DROP COLUMN legacy", []string{"SELECT * FROM users"}, []string{"warn contract-too-early column users.legacy"}},
		{"a column that is not used", "ALTER TABLE users DROP COLUMN legacy", []string{"SELECT id FROM users WHERE email = $1"}, []string{"note schema-floor column users.legacy"}},
		{"a column of a table that was never seen", "ALTER TABLE users DROP COLUMN legacy", []string{"SELECT legacy FROM orders"}, []string{"warn no-evidence column users.legacy"}},
		{"a column of a table of another schema", "ALTER TABLE app.users DROP COLUMN legacy", []string{"SELECT legacy FROM other.users"}, []string{"warn no-evidence column app.users.legacy"}},
		{"a column renamed that is used", "ALTER TABLE users RENAME COLUMN email TO mail", []string{"SELECT email FROM users"}, []string{"refuse contract-too-early column users.email"}},
		{"a table that is used", "DROP TABLE users", []string{"SELECT id FROM users"}, []string{"refuse contract-too-early table users"}},
		{"a table that is used within WITH", "DROP TABLE users", []string{"WITH w AS (SELECT id FROM users) SELECT id FROM w"}, []string{"refuse contract-too-early table users"}},
		{"a table that was never seen", "DROP TABLE users", []string{"SELECT id FROM orders"}, []string{"warn no-evidence table users"}},
		{"a table renamed", "ALTER TABLE users RENAME TO people", []string{"SELECT id FROM users"}, []string{"refuse contract-too-early table users"}},
		{"a function that is called", "DROP FUNCTION total(bigint)", []string{"SELECT total(id) FROM users"}, []string{"refuse contract-too-early function total"}},
		{"a function that is not called", "DROP FUNCTION total(bigint)", []string{"SELECT id FROM users"}, []string{"note schema-floor function total"}},
		{"a table of which the schema is not written", "ALTER TABLE app.users DROP COLUMN legacy", []string{"SELECT legacy FROM users"}, []string{"refuse contract-too-early column app.users.legacy"}},
		{"two tables of which one was never seen", "DROP TABLE users, orders", []string{"INSERT INTO app.users (id) VALUES ($1)", "SELECT id FROM other"}, []string{"refuse contract-too-early"}},
		{"a type that is cast to", "DROP TYPE state", []string{"SELECT $1::state", "SELECT $1::state[]"}, []string{"refuse contract-too-early type state"}},
		{"a type that is not", "DROP TYPE state", []string{"SELECT $1::text"}, []string{"note schema-floor type state"}},
		{"a label, which is a constant", "ALTER TYPE state RENAME VALUE 'open' TO 'new'", []string{"UPDATE orders SET state = $1"}, []string{"warn no-evidence label state.open"}},
		{"a sequence, which is a constant", "DROP SEQUENCE numbers", []string{"SELECT nextval($1)"}, []string{"warn no-evidence sequence numbers"}},
		{"a schema that is used", "DROP SCHEMA app CASCADE", []string{"SELECT id FROM app.users"}, []string{"refuse contract-too-early schema app"}},
		{"a constraint without which an upsert fails", "ALTER TABLE users DROP CONSTRAINT users_email_key", []string{"INSERT INTO users (email) VALUES ($1) ON CONFLICT (email) DO NOTHING"}, nil},
		{"a column that an INSERT must bring", "ALTER TABLE users ADD COLUMN more int NOT NULL", []string{"INSERT INTO users (id) VALUES ($1)"}, []string{"refuse contract-too-early"}},
		{"a column that nobody inserts", "ALTER TABLE users ADD COLUMN more int NOT NULL", []string{"SELECT id FROM users"}, []string{"note schema-floor"}},
		{"NOT NULL where rows are written", "ALTER TABLE users ALTER email SET NOT NULL", []string{"INSERT INTO users (id, email) VALUES ($1, $2)"}, []string{"warn contract-too-early"}},
		{"NOT NULL where others are written", "ALTER TABLE users ALTER email SET NOT NULL", []string{"UPDATE users SET name = $1"}, []string{"note schema-floor"}},
		{"another type of a column that is used", "ALTER TABLE users ALTER email TYPE citext", []string{"SELECT id FROM users WHERE email = $1"}, []string{"warn contract-too-early"}},
		{"a CHECK where rows are written", "ALTER TABLE users ADD CHECK (id > 0)", []string{"UPDATE users SET name = $1"}, []string{"warn contract-too-early"}},
		{"what cannot be looked into", "SELECT migrate_things()", []string{"SELECT id FROM users"}, []string{"warn no-evidence"}},
		{"what is not understood", "ALTER TABLE users FROBNICATE", []string{"SELECT id FROM users"}, []string{"warn no-evidence"}},
		{"a table of the same migration", "CREATE TABLE more (a int); ALTER TABLE more DROP COLUMN a", []string{"SELECT id FROM users"}, nil},
		{"a view that is made anew", "DROP VIEW people; CREATE VIEW people AS SELECT id FROM users", []string{"SELECT id FROM people"}, nil},
		{"a view that is made before it is dropped", "CREATE VIEW people AS SELECT id FROM users; DROP VIEW people", []string{"SELECT id FROM users"}, nil},
		{"a view of which another one is made", "DROP VIEW people; CREATE VIEW others AS SELECT id FROM users", []string{"SELECT id FROM people"}, []string{"refuse contract-too-early view people"}},
		{"a view that takes the place of a table", "ALTER TABLE users RENAME TO people; CREATE VIEW users AS SELECT * FROM people", []string{"SELECT id FROM users"}, nil},
		{"a function that is made anew", "DROP FUNCTION total(bigint); CREATE FUNCTION total(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1'", []string{"SELECT total(id) FROM users"}, nil},
		{"nothing recorded", "DROP FUNCTION total(bigint)", nil, []string{"warn no-evidence function total"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			findings := Contract(steps(tt.step), sends(tt.statements...))
			want := tt.want
			if want == nil {
				want = []string{}
			}
			assert.Equal(t, want, tellAll(findings), "%v", findings)
			for _, f := range findings {
				assert.Equal(t, "0007_change.sql", f.File)
				assert.Equal(t, finding.Static, f.Basis)
				t.Log(f, "FIX:", f.Fix)
			}
		})
	}
}

func TestContractStepNamesWhatUsesIt(t *testing.T) {
	findings := Contract(steps("SELECT 1; ALTER TABLE users DROP COLUMN legacy"), sends("SELECT legacy FROM users", "UPDATE users SET legacy = $1", "DELETE FROM users WHERE legacy = $1",
		"SELECT max(legacy) FROM users", "SELECT id FROM users"))
	require.Len(t, findings, 1)
	assert.Equal(t, "0007_change.sql:2: the statement drops column users.legacy, which the running release uses in 40 calls: SELECT legacy FROM users; "+
		"UPDATE users SET legacy = $1; DELETE FROM users WHERE legacy = $1; and 1 more (contract-too-early)", findings[0].String())
	assert.Equal(t, "release the code that stops using it first; put this step into the next release", findings[0].Fix)
}

func TestFloorIsTheFirstStepThatTakesSomethingAway(t *testing.T) {
	assert.Empty(t, Floor(steps("ALTER TABLE users ADD COLUMN more int; UPDATE users SET more = 1")))
	assert.Equal(t, "migration 7 drops column users.legacy", Floor(steps("ALTER TABLE users ADD COLUMN more int; ALTER TABLE users DROP COLUMN legacy; DROP TABLE orders")))
}

func TestTypesThatNoLongerTakeEveryValue(t *testing.T) {
	tests := []struct {
		name, fromType, from, toType, to, want string
	}{
		{"the same", "text", "text", "text", "text", ""},
		{"a longer text", "varchar", "character varying(50)", "varchar", "character varying(100)", ""},
		{"a text without a limit", "varchar", "character varying(50)", "text", "text", ""},
		{"a shorter text", "varchar", "character varying(100)", "varchar", "character varying(50)", "texts of more than 50 characters"},
		{"a text with a limit", "text", "text", "varchar", "character varying(50)", "texts of more than 50 characters"},
		{"a text of a length", "text", "text", "bpchar", "character(2)", "texts of more than 2 characters"},
		{"a larger integer", "int4", "integer", "int8", "bigint", ""},
		{"a smaller integer", "int8", "bigint", "int4", "integer", "numbers that need more than 4 bytes"},
		{"an integer as a number", "int4", "integer", "numeric", "numeric", ""},
		{"an integer as a number of few digits", "int4", "integer", "numeric", "numeric(8,2)", "numbers of more than 6 digits"},
		{"an integer as a number of enough digits", "int4", "integer", "numeric", "numeric(12,2)", ""},
		{"a number as an integer", "numeric", "numeric", "int8", "bigint", "numbers with a fraction, which is rounded,"},
		{"more digits", "numeric", "numeric(10,2)", "numeric", "numeric(12,2)", ""},
		{"more digits behind the point alone", "numeric", "numeric(10,2)", "numeric", "numeric(10,4)", "numbers of more than 6 digits before the point"},
		{"a number with a limit", "numeric", "numeric", "numeric", "numeric(10,2)", "numbers of more than 8 digits before the point"},
		{"half the precision", "float8", "double precision", "float4", "real", "numbers of more than 6 digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := narrower(column{Type: "pg_catalog." + tt.fromType, Written: tt.from}, column{Type: "pg_catalog." + tt.toType, Written: tt.to})
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestTypesAreComparedAsDriversSeeThem(t *testing.T) {
	text, uuid, enum := kind{"pg_catalog.text", "S"}, kind{"pg_catalog.uuid", "U"}, kind{"public.mood", "E"}
	number, wide, flag := kind{"pg_catalog.int4", "N"}, kind{"pg_catalog.int8", "N"}, kind{"pg_catalog.bool", "B"}
	json, jsonb := kind{"pg_catalog.json", "U"}, kind{"pg_catalog.jsonb", "U"}
	tests := []struct {
		name     string
		from, to kind
		want     finding.Level
	}{
		{"the same", text, text, ""},
		{"texts", text, kind{"pg_catalog.varchar", "S"}, ""},
		{"numbers", number, wide, finding.Warn},
		{"a text and a label", text, enum, finding.Warn},
		{"a uuid and a text", uuid, text, finding.Warn},
		{"an address and a text", kind{"pg_catalog.inet", "I"}, text, finding.Warn},
		{"two kinds of JSON", json, jsonb, finding.Warn},
		{"a text and JSON", text, jsonb, finding.Refuse},
		{"a text and a number", text, number, finding.Refuse},
		{"a number and a truth value", number, flag, finding.Refuse},
		{"times", kind{"pg_catalog.timestamp", "D"}, kind{"pg_catalog.timestamptz", "D"}, finding.Warn},
		{"a value and an array", text, kind{"pg_catalog._text", "A"}, finding.Refuse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			level, why := tt.from.changes(tt.to)
			assert.Equal(t, tt.want, level)
			assert.Equal(t, level == "", why == "")
			back, _ := tt.to.changes(tt.from)
			assert.Equal(t, level, back, "the way back is no better")
		})
	}
}
