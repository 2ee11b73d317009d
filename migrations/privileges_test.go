package migrations

import (
	"context"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/history"
)

// role makes a user of a name that must be quoted and the database's URL for it.
func role(t testing.TB, address string) (quoted, asRole string) {
	t.Helper()
	name := "Odd-" + databaseName(address)
	quoted = `"` + name + `"`
	pgtest.Exec(t, address, "CREATE ROLE "+quoted+" LOGIN PASSWORD 'wr0ng-secret'; REVOKE CREATE ON SCHEMA public FROM public")
	t.Cleanup(func() {
		pgtest.Drop(t, address)
		pgtest.Exec(t, pgtest.Server(t), "DROP ROLE "+quoted)
	})
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(name, "wr0ng-secret")
	return quoted, u.String()
}

var everyKind = []string{
	"1_a.up.sql", "CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a SELECT g, g FROM generate_series(1, 100) g", "1_a.down.sql", "DROP TABLE a",
	"2_b.up.sql", "CREATE INDEX CONCURRENTLY i ON a (n); VACUUM a; REINDEX TABLE CONCURRENTLY a", "2_b.down.sql", "DROP INDEX CONCURRENTLY i",
	"3_c.up.sql", "-- deploy: backfill a by id batch 40\nUPDATE a SET n = n + 1 WHERE id BETWEEN $1 AND $2", "3_c.down.sql", "UPDATE a SET n = n - 1",
}

func TestOwnerOfASchemaNeedsNothingElse(t *testing.T) {
	address := pgtest.Database(t)
	name, mine := role(t, address)
	pgtest.Exec(t, address, "ALTER SCHEMA public OWNER TO "+name)
	m := migrator(t, mine, pgtest.Files(everyKind...))
	outcome, err := m.Up(context.Background())
	require.NoError(t, err)
	assert.Len(t, outcome.Applied, 3)
	status, err := m.Status(context.Background())
	require.NoError(t, err)
	assert.Empty(t, status.Drift)
	_, err = m.Down(context.Background(), history.NoVersion)
	require.NoError(t, err)
}

// granted are the statements that an error proposes.
var granted = regexp.MustCompile(`GRANT [^;]*|ALTER TABLE [^;,]* DISABLE ROW LEVEL SECURITY`)

func TestPrivilegeThatIsMissingIsNamedWithTheStatementThatGrantsIt(t *testing.T) {
	const made = `CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false);
		CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a VALUES (1, 1);`
	tests := []struct {
		name  string
		setup string // ROLE is the user
		says  string
		rest  string // what else the migrations need
	}{
		{"may not create tables", "", `user ROLE lacks CREATE in schema "public", where the history of migrations is kept; nothing was done: GRANT CREATE ON SCHEMA "public" TO "ROLE"`, ""},
		{"may not use the schema", "REVOKE USAGE ON SCHEMA public FROM public", `user ROLE may not use schema "public": GRANT USAGE, CREATE ON SCHEMA "public" TO "ROLE"`, ""},
		{"may not read the version", made + "GRANT CREATE ON SCHEMA public TO ROLE", `user ROLE may not read "public"."schema_migrations", so what is applied is not known: GRANT SELECT ON "public"."schema_migrations" TO "ROLE"`,
			"GRANT ALL ON schema_migrations TO ROLE; ALTER TABLE a OWNER TO ROLE"},
		{"may not write the version", made + "GRANT CREATE ON SCHEMA public TO ROLE; GRANT SELECT, INSERT ON schema_migrations TO ROLE; ALTER TABLE a OWNER TO ROLE",
			`user ROLE lacks UPDATE, DELETE on "public"."schema_migrations"; nothing was done: GRANT UPDATE, DELETE ON "public"."schema_migrations" TO "ROLE"`, ""},
		{"sees no rows of the version", made + "GRANT CREATE ON SCHEMA public TO ROLE; GRANT ALL ON schema_migrations TO ROLE; ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY; ALTER TABLE a OWNER TO ROLE",
			`row-level security hides rows of "public"."schema_migrations" from user ROLE, so what is applied is not known: ALTER TABLE "public"."schema_migrations" DISABLE ROW LEVEL SECURITY, or migrate as its owner`, ""},
		{"sees no rows of its own table, where that is forced", made + "GRANT CREATE ON SCHEMA public TO ROLE; ALTER TABLE schema_migrations OWNER TO ROLE; ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY; ALTER TABLE schema_migrations FORCE ROW LEVEL SECURITY; ALTER TABLE a OWNER TO ROLE",
			`row-level security hides rows of "public"."schema_migrations" from user ROLE`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			quoted, mine := role(t, address)
			bare := quoted[1 : len(quoted)-1]
			fill := func(text, name string) string { return regexp.MustCompile(`\bROLE\b`).ReplaceAllString(text, name) }
			fillSQL := func(text string) string { return regexp.MustCompile(`TO ROLE\b`).ReplaceAllString(text, "TO "+quoted) }
			pgtest.Exec(t, address, fillSQL(tt.setup)+";SELECT 1")
			before := signatureOfAll(t, address)
			m := migrator(t, mine, pgtest.Files(everyKind...))
			_, err := m.Up(context.Background())
			require.Error(t, err)
			assert.Contains(t, err.Error(), fill(tt.says, bare))
			assert.NotContains(t, err.Error(), "wr0ng")
			assert.Equal(t, before, signatureOfAll(t, address), "nothing is left")
			assertNoAdvisoryLock(t, address)

			for _, statement := range granted.FindAllString(err.Error(), -1) {
				pgtest.Exec(t, address, statement)
			}
			pgtest.Exec(t, address, fillSQL(tt.rest)+";SELECT 1")
			outcome, err := m.Up(context.Background())
			require.NoError(t, err, "what the error proposed is enough")
			assert.EqualValues(t, 3, outcome.To)
		})
	}
}

// signatureOfAll is every table, index and row count that a user could have made.
func signatureOfAll(t testing.TB, address string) string {
	t.Helper()
	return pgtest.Value(t, address, "SELECT string_agg(relname::text || relkind::text || coalesce(relacl::text, ''), ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace") +
		pgtest.Value(t, address, "SELECT count(*) FROM pg_attribute")
}

func TestRoleThatOwnsNothingChangesNothing(t *testing.T) {
	tests := []struct{ name, body, says string }{
		{"a table of another one", "CREATE TABLE b ();\nALTER TABLE a ADD COLUMN c int", "m/2_b.up.sql:2: must be owner of table a (42501)\n    2 | ALTER TABLE a ADD COLUMN c int\n  hint: only the owner of table a may do this: migrate as the owner, or make the user that migrates a member of that role: GRANT owner TO user"},
		{"rows of another one", "CREATE TABLE b ();\nUPDATE a SET n = 1", "m/2_b.up.sql:2: permission denied for table a (42501)\n    2 | UPDATE a SET n = 1\n  hint: grant the user that migrates what the statement needs: GRANT … ON TABLE a TO user"},
		{"an index of another one, outside a transaction", "CREATE INDEX CONCURRENTLY i ON a (n)", "m/2_b.up.sql:1: must be owner of table a (42501)"},
		{"another schema", "CREATE TABLE other.b ()", "m/2_b.up.sql:1:14: permission denied for schema other (42501)"},
		{"an extension that needs a superuser", "CREATE EXTENSION amcheck", "m/2_b.up.sql:1: permission denied to create extension \"amcheck\" (42501)\n    1 | CREATE EXTENSION amcheck\n  hint: Must be superuser to create this extension."},
		{"a setting that needs a superuser", "SET LOCAL session_replication_role = 'replica'", "m/2_b.up.sql:1: permission denied to set parameter \"session_replication_role\" (42501)\n    1 | SET LOCAL session_replication_role = 'replica'\n  hint: grant the user that migrates what the statement needs, or migrate as a user that may"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := pgtest.Database(t)
			name, mine := role(t, address)
			pgtest.Exec(t, address, "CREATE TABLE a (id int, n int); CREATE SCHEMA other; GRANT CREATE ON SCHEMA public TO "+name)
			files := pgtest.Files("1_x.up.sql", "SELECT 1", "2_b.up.sql", tt.body)
			_, err := migrator(t, mine, files).Up(context.Background())
			assertFailure(t, address, err, "m/2_b.up.sql:[0-9:]+", "42501")
			assert.Contains(t, err.Error(), tt.says)
			assert.Equal(t, "NULL", pgtest.Value(t, address, "SELECT to_regclass('b')"))
			pgtest.Exec(t, address, "ALTER TABLE a OWNER TO "+name+"; ALTER SCHEMA other OWNER TO "+name+"; ALTER ROLE "+name+" SUPERUSER")
			_, err = migrator(t, mine, files).Up(context.Background())
			require.NoError(t, err)
			pgtest.Exec(t, address, "ALTER ROLE "+name+" NOSUPERUSER")
		})
	}
}

func TestRowSecurityOnTheHistoryNeverMakesARunApplyThingsAgain(t *testing.T) {
	for _, table := range []string{"schema_migrations", "deploy_migrations", "deploy_releases"} {
		t.Run(table, func(t *testing.T) {
			address := pgtest.Database(t)
			name, mine := role(t, address)
			files := pgtest.Files("1_a.up.sql", "CREATE TABLE IF NOT EXISTS a (n int); INSERT INTO a VALUES (1)")
			_, err := migrator(t, address, files).Up(context.Background())
			require.NoError(t, err)
			pgtest.Exec(t, address, "GRANT ALL ON ALL TABLES IN SCHEMA public TO "+name+"; GRANT CREATE ON SCHEMA public TO "+name+"; ALTER TABLE "+table+" ENABLE ROW LEVEL SECURITY")
			_, err = migrator(t, mine, files).Up(context.Background())
			require.ErrorContains(t, err, "row-level security hides rows of \"public\".\""+table+"\"")
			_, err = migrator(t, mine, files).Status(context.Background())
			require.ErrorContains(t, err, "row-level security", "it is not shown as pending either")
			_, err = migrator(t, address, files).Up(context.Background())
			require.NoError(t, err, "the owner sees them")
			assert.Equal(t, "1", pgtest.Value(t, address, "SELECT count(*) FROM a"))
		})
	}
}
