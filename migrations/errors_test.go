package migrations

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/script"
)

func TestErrorOfAMigrationPointsIntoItsFile(t *testing.T) {
	tests := []struct {
		name string
		body string
		want string
	}{
		{"a word misspelt", "-- why\n\nALTER TABLE t ADD COLUM kind text;\n", `m/1_a.up.sql:3:30: syntax error at or near "text" (42601)
    3 | ALTER TABLE t ADD COLUM kind text;
      |                              ^`},
		{"a type that does not exist, after a drizzle breakpoint", "ALTER TABLE t ADD COLUMN kind text;\n--> statement-breakpoint\nALTER TABLE t ADD COLUMN more txt;\n", `m/1_a.up.sql:3:31: type "txt" does not exist (42704)
    3 | ALTER TABLE t ADD COLUMN more txt;
      |                               ^`},
		{"after letters of more than one byte, tabs and a byte order mark", "\ufeff-- größer 日本\n\tUPDATE t SET näme = 1;", `m/1_a.up.sql:2:15: column "näme" of relation "t" does not exist (42703)
    2 | ` + "\tUPDATE t SET näme = 1;\n      | \t             ^"},
		{"a hint of PostgreSQL's", "SELECT nmae FROM t;", `m/1_a.up.sql:1:8: column "nmae" does not exist (42703)
    1 | SELECT nmae FROM t;
      |        ^
  hint: Perhaps you meant to reference the column "t.name".`},
		{"an error without a position", "SELECT 1;\r\n\r\n  ALTER TABLE t\r\n    ADD COLUMN name text;", `m/1_a.up.sql:3: column "name" of relation "t" already exists (42701)
    3 |   ALTER TABLE t`},
		{"rows that break a rule are not shown", "INSERT INTO t VALUES (1, 'secret of Ada');", `m/1_a.up.sql:1: duplicate key value violates unique constraint "t_pkey" (23505)
    1 | INSERT INTO t VALUES (1, 'secret of Ada');
  hint: rows of t break constraint "t_pkey"; their values are not shown here`},
		{"a rule of a column", "ALTER TABLE t ALTER name SET NOT NULL;", `m/1_a.up.sql:1: column "name" of relation "t" contains null values (23502)
    1 | ALTER TABLE t ALTER name SET NOT NULL;
  hint: rows of t break a rule of column "name"; their values are not shown here`},
		{"within a block of PL/pgSQL", "SELECT 1;\nDO $$\nBEGIN\n  PERFORM nope();\nEND $$;", `m/1_a.up.sql:2: function nope() does not exist (42883)
    2 | DO $$
  where: PL/pgSQL function inline_code_block line 3 at PERFORM
  hint: No function matches the given name and argument types. You might need to add explicit type casts.`},
		{"unfinished", "SELECT 'abc", `m/1_a.up.sql:1:8: unterminated quoted string at or near "'abc" (42601)
    1 | SELECT 'abc
      |        ^`},
		{"after the BEGIN that is not sent", "BEGIN;\nSELECT nope;\nCOMMIT;", `m/1_a.up.sql:2:8: column "nope" does not exist (42703)
    2 | SELECT nope;
      |        ^`},
		{"outside a transaction", "-- ü\nCREATE INDEX CONCURRENTLY i ON t (name) WHRE true;", `m/1_a.up.sql:2:41: syntax error at or near "WHRE" (42601)
    2 | CREATE INDEX CONCURRENTLY i ON t (name) WHRE true;
      |                                         ^`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'x'), (2, NULL)")
			_, err := migrator(t, address, pgtest.Files("1_a.up.sql", tt.body)).Up(context.Background())
			require.Error(t, err)
			assert.Equal(t, tt.want, err.Error())
			var sql *script.Error
			require.ErrorAs(t, err, &sql)
			var server *pgconn.PgError
			require.ErrorAs(t, err, &server)
			assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
		})
	}
}

func TestPasswordsAreInNoError(t *testing.T) {
	server := pgtest.Server(t)
	elsewhere, err := url.Parse(server)
	require.NoError(t, err)
	elsewhere.Host = "127.0.0.1:1"
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.User = url.UserPassword("postgres", "wr0ng-secret")
	for _, address := range []string{
		elsewhere.String(), u.String(),
		"postgres://postgres:wr0ng-secret%zz@127.0.0.1/x", "postgres://postgres:wr0ng-secret/@:x", "host=127.0.0.1 pgtest.Password=wr0ng-secret port=x",
		"host=127.0.0.1 port=1 pgtest.Password='wr0ng-secret", "postgres://127.0.0.1:1/x?pgtest.Password=wr0ng-secret", "postgres://127.0.0.1:1/x?passwrd=wr0ng-secret",
	} {
		for what, do := range map[string]func() error{
			"migrate": func() error {
				m, err := New(Options{URL: address, FS: pgtest.Files("1_a.up.sql", "SELECT 1"), Folder: folder.Options{Dir: "m"}})
				if err == nil {
					_, err = m.Up(context.Background())
				}
				return err
			},
			"restore":         func() error { _, err := pg.NewScratch(context.Background(), address, pg.Locale{}); return err },
			"name a database": func() error { _, err := pg.OnDatabase("x"+address, "y"); return err },
		} {
			err := do()
			require.Error(t, err, "%s %s", what, address)
			assert.NotContains(t, err.Error(), "wr0ng", what)
			assert.NotContains(t, err.Error(), "horse", what)
		}
	}
}

func TestPositionRefusesToGuess(t *testing.T) {
	ours := pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "3_c.up.sql", "CREATE TABLE c ()")
	const version = "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES "
	const drizzle = `CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);`
	const applied = "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('x', 1);"
	tests := []struct {
		name  string
		setup string
		is    error
		says  string
	}{
		{"an older release than the database", version + "(4, false)", ErrNewer, "version 4: the database is ahead of the migrations: m ends at 3 (3_c): a newer release has migrated the database"},
		{"a file that was taken away", version + "(2, false)", ErrMissing, "version 2: an applied migration is missing: m does not have it between its others"},
		{"a dirty version", version + "(3, true)", ErrDirty, `m/3_c.up.sql (version 3): a migration is half applied: a run of golang-migrate stopped in it`},
		{"a dirty version of another release", version + "(9, true)", ErrDirty, `version 9: a migration is half applied`},
		{"migrated by drizzle-orm", drizzle + applied, ErrForeign, `there is no version in "public"."schema_migrations", but other migrations in drizzle.__drizzle_migrations, where drizzle-orm lists 1: another tool has migrated this database`},
		{"migrated by drizzle-orm into a schema of its own", strings.ReplaceAll(drizzle+applied, "drizzle.__", "public.__"), ErrForeign, "public.__drizzle_migrations, where drizzle-orm lists 1"},
		{"migrated by drizzle-orm, with our table empty", drizzle + applied + strings.TrimSuffix(version, "INSERT INTO schema_migrations VALUES "), ErrForeign, "drizzle-orm"},
		{"drizzle-orm's table without rows", drizzle, nil, ""},
		{"both, in step", drizzle + applied + version + "(1, false)", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			pgtest.Exec(t, address, tt.setup)
			m := migrator(t, address, ours)
			if tt.is == nil {
				_, err := m.Pending(context.Background())
				require.NoError(t, err)
				return
			}
			before := pgtest.Value(t, address, "SELECT count(*) FROM pg_class")
			_, err := m.Pending(context.Background())
			require.ErrorIs(t, err, tt.is)
			outcome, err := m.Up(context.Background())
			require.ErrorIs(t, err, tt.is)
			require.ErrorContains(t, err, tt.says)
			assert.Empty(t, outcome.Applied)
			assert.Equal(t, before, pgtest.Value(t, address, "SELECT count(*) FROM pg_class"), "nothing was made")
			assertNoAdvisoryLock(t, address)
		})
	}
}

func TestUpToStopsWhereItIsTold(t *testing.T) {
	address := pgtest.Database(t)
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()", "2_b.up.sql", "CREATE TABLE b ()", "3_c.up.sql", "CREATE TABLE c ()"))
	outcome, err := m.UpTo(context.Background(), 2)
	require.NoError(t, err)
	assert.EqualValues(t, 2, outcome.To)
	assert.Len(t, outcome.Applied, 2)
	again, err := m.UpTo(context.Background(), 2)
	require.NoError(t, err)
	assert.Empty(t, again.Applied)
	assert.EqualValues(t, 2, again.From)
	_, err = m.UpTo(context.Background(), 1)
	require.ErrorContains(t, err, "going down is a decision of its own")
	_, err = m.UpTo(context.Background(), 7)
	require.ErrorContains(t, err, "m: no migration has version 7")
	version, err := m.Version(context.Background())
	require.NoError(t, err)
	assert.EqualValues(t, 2, version)
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{URL: "postgres://h/d", FS: pgtest.Files("1_a.up.sql", "SELECT 1"), Folder: folder.Options{Dir: "m"}}
	m, err := New(good)
	require.NoError(t, err)
	assert.Equal(t, DefaultLockTimeout, m.options.LockTimeout)
	for says, change := range map[string]func(*Options){
		"no database URL given":     func(o *Options) { o.URL = "" },
		"LockTimeout is -1ns":       func(o *Options) { o.LockTimeout = -1 },
		"StatementTimeout is 1µs":   func(o *Options) { o.StatementTimeout = 1000 },
		"no file system given":      func(o *Options) { o.FS = nil },
		`unknown format "flyway"`:   func(o *Options) { o.Folder.Format = "flyway" },
		"is not a directory within": func(o *Options) { o.Folder.Dir = "../m" },
		"n: no such directory of":   func(o *Options) { o.Folder.Dir = "n" },
	} {
		o := good
		change(&o)
		_, err := New(o)
		require.ErrorContains(t, err, says)
	}
}
