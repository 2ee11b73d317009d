package migrations

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// The classes of errors that a migration can meet, each from a real server (PostgreSQL, appendix A: the first two characters
// of a code are its class). Of every one: it says where, what, which code and what to do; the history has the code; the
// version is as it was, and not dirty; when the cause is gone, the next run goes on; and no value of a row is anywhere.

// secrets are values of rows in the table that the cases use. Neither stands in a migration.
var secrets = []string{"Ada-4711", "Ada", "4711", "471147"}

const people = `CREATE TABLE people (id int PRIMARY KEY, name text, big text, flags text, boss int);
	INSERT INTO people VALUES (4711, 'Ada-4711', '471147471147', '{Ada', 1), (4712, 'Ada-4711', '471147471148', '{Ada', 4711), (4713, NULL, NULL, NULL, NULL);
	CREATE TABLE t (id int PRIMARY KEY); CREATE TYPE mood AS ENUM ('sad');
	CREATE TABLE list (id int) PARTITION BY RANGE (id); CREATE INDEX list_i ON list (id);
	CREATE TABLE shown AS SELECT * FROM people; CREATE VIEW seen AS SELECT * FROM shown WHERE id < 4715 WITH CHECK OPTION; CREATE SEQUENCE s;
	CREATE FUNCTION deeper(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN deeper($1 + 1); END $$;
	CREATE FUNCTION build(text) RETURNS void STRICT LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT ''' || $1 || '''::int'; END $$;`

func TestErrorOfEveryClassThatAMigrationCanMeet(t *testing.T) {
	t.Parallel()
	const nothing = "" // cured by correcting the file
	tests := []struct {
		code string
		name string
		body string
		at   string // after m/2_b.up.sql
		says []string
		cure string // SQL that removes the cause
	}{
		{"0A000", "what PostgreSQL cannot do", "SELECT 1;\nALTER TABLE t ADD COLUMN a int GENERATED ALWAYS AS (id) STORED, ADD COLUMN b int GENERATED ALWAYS AS (id) STORED;\nCREATE TRIGGER x BEFORE UPDATE ON list REFERENCING NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", ":3", nil, nothing},
		{"21000", "a subquery with more rows than one", "UPDATE t SET id = 1;\nUPDATE people SET name = (SELECT name FROM people)", ":2", nil, nothing},
		{"22001", "a value too long", "ALTER TABLE people ALTER name TYPE varchar(3)", ":1", []string{"value too long for type character varying(3)"}, "UPDATE people SET name = 'x'"},
		{"22003", "a number out of range", "\nALTER TABLE people ALTER big TYPE int USING big::int", ":2", []string{"value … is out of range for type integer", "it is not shown, for it may be of a row"}, "UPDATE people SET big = 1"},
		{"22003", "a number with too many digits", "ALTER TABLE people ALTER id TYPE numeric(2,1)", ":1", []string{"numeric field overflow", "detail: A field with precision 2, scale 1 must round to an absolute value less than 10^1."}, "UPDATE people SET id = id - 4710"},
		{"22007", "a text that is no date", "ALTER TABLE people ALTER name TYPE date USING name::date", ":1", []string{"invalid input syntax for type date: …"}, "UPDATE people SET name = NULL"},
		{"22007", "a text that is no date of a form", "UPDATE people SET name = to_date(name, 'YYYY')", ":1", []string{"invalid value …"}, "UPDATE people SET name = NULL"},
		{"22008", "a day that does not exist", "UPDATE people SET name = ('2024-13-' || length(name))::date", ":1", []string{"date/time field value out of range: …"}, "UPDATE people SET name = NULL"},
		{"22012", "a division by zero", "SELECT 1;\nSELECT 1 / (id - id) FROM people", ":2", []string{"division by zero"}, "TRUNCATE people"},
		{"22021", "bytes that are no text", "SELECT convert_from(convert_to(chr(233) || name, 'LATIN1'), 'UTF8') FROM people", ":1", []string{"invalid byte sequence"}, "UPDATE people SET name = NULL"},
		{"22023", "a time zone that does not exist", "SELECT now() AT TIME ZONE name FROM people", ":1", []string{"time zone … not recognized"}, "UPDATE people SET name = NULL"},
		{"2201B", "a regular expression that is none", "SELECT big ~ ('(' || name) FROM people", ":1", []string{"invalid regular expression"}, "UPDATE people SET name = NULL"},
		{"22P02", "a text that is no number", "SELECT 1;\n\nALTER TABLE people\n  ALTER name TYPE int USING name::int", ":3", []string{"invalid input syntax for type integer: …", "hint: a value cannot be read so, or is no such thing; it is not shown, for it may be of a row"}, "UPDATE people SET name = NULL"},
		{"22P02", "a literal that is no number, which is the file's own", "SELECT 'abc'::int", ":1:8", []string{`invalid input syntax for type integer: "abc"`}, nothing},
		{"22P02", "a text that is no JSON", "ALTER TABLE people ALTER name TYPE jsonb USING name::jsonb", ":1", []string{"invalid input syntax for type json"}, "UPDATE people SET name = NULL"},
		{"22P02", "a text that is none of an enum", "ALTER TABLE people ALTER name TYPE mood USING name::mood", ":1", []string{"invalid input value for enum mood: …"}, "UPDATE people SET name = 'sad'"},
		{"22P02", "a text that is no array", "ALTER TABLE people ALTER flags TYPE text[] USING flags::text[]", ":1", []string{"malformed array literal: …"}, "UPDATE people SET flags = NULL"},
		{"22P02", "a statement that a function puts together", "SELECT build(name) FROM people", ":1", []string{"invalid input syntax for type integer: …"}, "UPDATE people SET name = NULL"},
		{"22P05", "a letter that an encoding has not", "SELECT convert_to(chr(26085) || name, 'LATIN1') FROM people", ":1", []string{"character with byte sequence … in encoding …"}, "UPDATE people SET name = NULL"},
		{"23502", "a column that must not be empty", "ALTER TABLE people ALTER name SET NOT NULL", ":1", []string{`column "name" of relation "people" contains null values`}, "UPDATE people SET name = 'x'"},
		{"23502", "a row without what it must have", "ALTER TABLE t ADD COLUMN name text NOT NULL;\nINSERT INTO t SELECT id, name FROM people", ":2", []string{`null value in column "name" of relation "t" violates not-null constraint`}, "UPDATE people SET name = 'x'"},
		{"23503", "a row that refers to none", "ALTER TABLE people ADD CONSTRAINT boss FOREIGN KEY (boss) REFERENCES people", ":1", []string{"violates foreign key constraint \"boss\"", `hint: rows of people break constraint "boss"; their values are not shown here`}, "UPDATE people SET boss = NULL"},
		{"23505", "a row that is there twice", "CREATE UNIQUE INDEX once ON people (name)", ":1", []string{`could not create unique index "once"`}, "UPDATE people SET name = NULL"},
		{"23505", "a row that is there twice, inserted", "INSERT INTO people SELECT id FROM people", ":1", []string{`duplicate key value violates unique constraint "people_pkey"`}, "TRUNCATE people"},
		{"23514", "a row that breaks a check", "ALTER TABLE people ADD CONSTRAINT small CHECK (id < 4712)", ":1", []string{`check constraint "small" of relation "people" is violated by some row`}, "TRUNCATE people"},
		{"23514", "a row that breaks a check, updated", "ALTER TABLE people ADD CONSTRAINT small CHECK (length(name) < 9);\nUPDATE people SET name = name || name", ":2", []string{`new row for relation "people" violates check constraint "small"`}, "TRUNCATE people"},
		{"23514", "a row for no partition", "INSERT INTO list SELECT id FROM people", ":1", []string{`no partition of relation "list" found for row`}, "CREATE TABLE other PARTITION OF list DEFAULT"},
		{"23P01", "rows that exclude each other", "ALTER TABLE people ADD CONSTRAINT alone EXCLUDE (name WITH =)", ":1", []string{`could not create exclusion constraint "alone"`}, "UPDATE people SET name = NULL"},
		{"25001", "a statement that needs no transaction", "SELECT 1;\nREINDEX INDEX list_i", ":2", []string{"REINDEX INDEX cannot run inside a transaction block", "-- deploy: no-transaction"}, nothing},
		{"25006", "a transaction that only reads", "SET TRANSACTION READ ONLY;\nCREATE TABLE n ()", ":2", []string{"cannot execute CREATE TABLE in a read-only transaction"}, nothing},
		{"26000", "a prepared statement that is not", "EXECUTE nope", ":1", []string{`prepared statement "nope" does not exist`}, nothing},
		{"2BP01", "what others depend on", "ALTER TABLE t ADD CONSTRAINT x CHECK (true);\nDROP TABLE shown", ":2", []string{"cannot drop table shown because other objects depend on it", "detail: view seen depends on table shown", "hint: Use DROP ... CASCADE"}, "DROP VIEW seen"},
		{"2D000", "a block that commits", "DO $$\nBEGIN\n  COMMIT;\nEND $$", ":1", []string{"invalid transaction termination", "where: PL/pgSQL function inline_code_block line 3 at COMMIT"}, nothing},
		{"34000", "a cursor that is not", "CLOSE nope", ":1", []string{`cursor "nope" does not exist`}, nothing},
		{"3B001", "a savepoint that is not", "ROLLBACK TO SAVEPOINT nope", ":1", []string{`savepoint "nope" does not exist`}, nothing},
		{"3D000", "a database that is not", "ALTER DATABASE nope SET work_mem = '1MB'", ":1", []string{`database "nope" does not exist`}, nothing},
		{"3F000", "a schema that is not", "CREATE TABLE nope.t ()", ":1:14", []string{`schema "nope" does not exist`}, "CREATE SCHEMA nope"},
		{"42501", "what only an owner may", "CREATE TABLE n ();\nSET ROLE pg_monitor;\nALTER TABLE t ADD COLUMN a int", ":3", []string{"must be owner of table t", "hint: only the owner of table t may do this"}, nothing},
		{"42501", "what was not granted", "SET ROLE pg_monitor;\nUPDATE people SET id = 1", ":2", []string{"permission denied for table people", "hint: grant the user that migrates what the statement needs: GRANT … ON TABLE people TO user"}, "GRANT ALL ON people TO pg_monitor; TRUNCATE people"},
		{"42601", "a word misspelt", "CREATE TABLE n ();\n  CREATE TABEL m ()", ":2:10", []string{`syntax error at or near "TABEL"`}, nothing},
		{"42701", "a column that is there", "ALTER TABLE people ADD COLUMN name text", ":1", nil, "ALTER TABLE people RENAME name TO was"},
		{"42703", "a column that is not", "UPDATE people SET nmae = ''", ":1:19", nil, "ALTER TABLE people ADD COLUMN nmae text"},
		{"42704", "a type that is not", "ALTER TABLE t ADD COLUMN a txt", ":1:28", nil, "CREATE DOMAIN txt AS text"},
		{"42710", "a type that is there", "CREATE TYPE mood AS ENUM ()", ":1", nil, "DROP TYPE mood"},
		{"42723", "a function that is there", "CREATE FUNCTION deeper(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", ":1", nil, "DROP FUNCTION deeper"},
		{"42804", "a type that does not fit", "ALTER TABLE people ALTER name TYPE int", ":1", []string{`hint: You might need to specify "USING name::integer".`}, "ALTER TABLE people DROP name; ALTER TABLE people ADD name smallint"},
		{"42830", "a foreign key to no key", "ALTER TABLE people ADD FOREIGN KEY (id) REFERENCES people (boss)", ":1", nil, "UPDATE people SET boss = id; ALTER TABLE people ADD UNIQUE (boss)"},
		{"42883", "a function that is not", "SELECT nope(1)", ":1:8", []string{"hint: No function matches"}, "CREATE FUNCTION nope(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"},
		{"42P01", "a table that is not", "DROP TABLE nope", ":1", nil, "CREATE TABLE nope ()"},
		{"42P07", "a table that is there", "CREATE TABLE t ()", ":1", nil, "DROP TABLE t"},
		{"42P16", "a table that cannot be so", "ALTER TABLE t ADD PRIMARY KEY (id)", ":1", nil, "ALTER TABLE t DROP CONSTRAINT t_pkey"},
		{"44000", "a row that a view does not show", "UPDATE seen SET id = id + 10", ":1", []string{`new row violates check option for view "seen"`, "hint: rows break a rule of the view"}, "TRUNCATE shown"},
		{"53400", "more temporary files than allowed", "SET LOCAL work_mem = '64kB'; SET LOCAL temp_file_limit = '64kB';\nSELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY random()) x", ":2", []string{"temporary file size exceeds"}, nothing},
		{"54000", "a row too long for an index", "UPDATE people SET name = (SELECT string_agg(md5(g::text || name), '') FROM generate_series(1, 200) g);\nCREATE INDEX i ON people (name)", ":2", []string{"exceeds btree version 4 maximum"}, "TRUNCATE people"},
		{"54001", "a function that calls itself", "SELECT deeper(1)", ":1", []string{"stack depth limit exceeded"}, "CREATE OR REPLACE FUNCTION deeper(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"},
		{"54011", "more columns than a table has", "DO $$ BEGIN EXECUTE 'CREATE TABLE n (' || (SELECT string_agg('c' || g || ' int', ',') FROM generate_series(1, 1601) g) || ')'; END $$", ":1", []string{"tables can have at most 1600 columns"}, nothing},
		{"55000", "a sequence that was not used", "SELECT currval('s')", ":1", []string{"is not yet defined in this session"}, nothing},
		{"55006", "a table in use", "DECLARE c CURSOR FOR SELECT * FROM t; FETCH c;\nALTER TABLE t ADD COLUMN a int", ":2", []string{"because it is being used by active queries in this session"}, nothing},
		{"55P04", "a value of an enum that is new", "ALTER TYPE mood ADD VALUE 'glad';\nALTER TABLE people ALTER name TYPE mood USING 'glad'::mood", ":2:47", []string{"unsafe use of new value"}, nothing},
		{"57014", "a statement that takes too long", "CREATE TABLE n ();\nSET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(60)", ":2", []string{"canceling statement due to statement timeout"}, nothing},
		{"58P01", "a file of the server that is not", "SELECT 1;\nCOPY people FROM '/nope'", ":2", []string{`could not open file "/nope" for reading`}, nothing},
		{"P0001", "what a migration raises itself", "SELECT 1;\nDO $$ BEGIN\n  IF EXISTS (SELECT FROM people WHERE name IS NULL) THEN\n    RAISE 'people without names' USING DETAIL = 'count them', HINT = 'name them';\n  END IF;\nEND $$", ":2",
			[]string{"people without names", "detail: count them", "hint: name them", "line 3 at RAISE"}, "TRUNCATE people"},
		{"P0002", "a row that was expected", "DO $$ DECLARE r record; BEGIN SELECT * INTO STRICT r FROM t; END $$", ":1", []string{"query returned no rows"}, "INSERT INTO t VALUES (1)"},
		{"P0004", "what a migration asserts", "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM people); END $$", ":1", []string{"assertion failed"}, "TRUNCATE people"},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		seen[tt.code[:2]] = true
		t.Run(tt.code+" "+tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			files := pgtest.Files("1_a.up.sql", people, "2_b.up.sql", tt.body)
			_, err := migrator(t, address, files).UpTo(context.Background(), 1)
			require.NoError(t, err)
			_, err = migrator(t, address, files, impatient).Up(context.Background())
			assertFailure(t, address, err, "m/2_b.up.sql"+tt.at, tt.code)
			for _, s := range tt.says {
				assert.Contains(t, err.Error(), s)
			}
			if tt.cure == nothing {
				files["m/2_b.up.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE corrected ()")}
			} else {
				pgtest.Exec(t, address, tt.cure)
			}
			_, err = migrator(t, address, files).Up(context.Background())
			require.NoError(t, err, "the cause is gone")
			assert.Equal(t, "2 false", pgtest.Value(t, address, stateQuery))
		})
	}
	for _, class := range []string{"0A", "21", "22", "23", "25", "26", "2B", "2D", "34", "3B", "3D", "3F", "42", "44", "53", "54", "55", "57", "58", "P0"} {
		assert.True(t, seen[class], "class %s", class)
	}
}

// impatient gives up on others at once.
func impatient(o *Options) { o.RetryBudget, o.LockTimeout = time.Millisecond, 20*time.Millisecond }

// assertFailure checks what is true after any failure of the second migration, in a transaction.
func assertFailure(t testing.TB, address string, err error, at, code string) {
	t.Helper()
	require.Error(t, err)
	assert.Regexp(t, "^"+strings.ReplaceAll(at, ".", `\.`)+": .* \\("+code+"\\)", err.Error())
	var server *pgconn.PgError
	require.ErrorAs(t, err, &server)
	assert.Equal(t, code, server.Code)
	assert.Equal(t, "1 false", pgtest.Value(t, address, stateQuery))
	entries, read := migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1")).History(context.Background())
	require.NoError(t, read)
	last := entries[len(entries)-1]
	assert.Equal(t, history.Failed, last.Status)
	assert.Equal(t, code, last.SQLState)
	for _, text := range []string{err.Error(), last.Error, server.Error(), server.Detail, server.Where, server.Hint, server.InternalQuery} {
		assertDiscreet(t, text)
	}
	assertNoAdvisoryLock(t, address)
}

func assertDiscreet(t testing.TB, text string) {
	t.Helper()
	for _, secret := range append(secrets, pgtest.Password, "correct-horse%25battery") {
		assert.NotContains(t, text, secret)
	}
}
