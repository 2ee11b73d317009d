package compat

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/finding"
)

// What happened to others in production, told beforehand. Each is also done: PostgreSQL must say what was foretold.
func TestIncidents(t *testing.T) {
	tests := []struct {
		name, schema, migration, statement string
		arguments                          []any
		fails                              string // SQLSTATE
		want                               []string
	}{
		{
			name:      "pypi/warehouse#11157: a column renamed before the code",
			schema:    "CREATE TABLE macaroons (id int PRIMARY KEY, caveats jsonb NOT NULL);",
			migration: "ALTER TABLE macaroons RENAME COLUMN caveats TO permissions_caveat",
			statement: "INSERT INTO macaroons (id, caveats) VALUES ($1, $2)", arguments: []any{1, "{}"}, fails: "42703",
			want: []string{"refuse breaks-running-release column public.macaroons.caveats"},
		},
		{
			name:      "vm0#30007: a column dropped while old code still writes it",
			schema:    "CREATE TABLE runner_state (id int PRIMARY KEY, runner_name text, heartbeat timestamptz);",
			migration: "ALTER TABLE runner_state DROP COLUMN runner_name",
			statement: "INSERT INTO runner_state (id, runner_name, heartbeat) VALUES ($1, $2, now()) ON CONFLICT (id) DO UPDATE SET heartbeat = now()",
			arguments: []any{1, "a"}, fails: "42703",
			want: []string{"refuse breaks-running-release column public.runner_state.runner_name"},
		},
		{
			name: "vm0#34084: Drizzle's INSERT names every declared column, also the one that nobody uses",
			schema: `CREATE TABLE org_members_metadata (org_id text, user_id text, timezone text, locale text, send_mode text DEFAULT 'now', onboarding_done boolean DEFAULT false,
				morning_brief_default_eligible_at timestamp, created_at timestamp NOT NULL DEFAULT now(), PRIMARY KEY (org_id, user_id));`,
			migration: "ALTER TABLE org_members_metadata DROP COLUMN morning_brief_default_eligible_at",
			statement: `insert into "org_members_metadata" ("org_id", "user_id", "timezone", "locale", "send_mode", "onboarding_done", "morning_brief_default_eligible_at", "created_at") ` +
				`values ($1, $2, $3, default, default, default, default, default)`,
			arguments: []any{"o", "u", "UTC"}, fails: "42703",
			want: []string{"refuse breaks-running-release column public.org_members_metadata.morning_brief_default_eligible_at"},
		},
		{
			name:      "a column that must be there, which PREPARE does not miss",
			schema:    "CREATE TABLE users (id int PRIMARY KEY, email text);",
			migration: "ALTER TABLE users ADD COLUMN tenant int NOT NULL",
			statement: "INSERT INTO users (id, email) VALUES ($1, $2)", arguments: []any{1, "a"}, fails: "23502",
			want: []string{"refuse insert-lacks-column column public.users.tenant"},
		},
		{
			name:      "an upsert whose unique index is gone, which PREPARE does not miss",
			schema:    "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE);",
			migration: "ALTER TABLE users DROP CONSTRAINT users_email_key",
			statement: "INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (email) DO NOTHING", arguments: []any{1, "a"}, fails: "42P10",
			want: []string{"refuse breaks-running-release"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx := context.Background()
			report := compareOn(t, tt.schema, tt.migration, tt.statement)
			assert.Equal(t, tt.want, tellAll(report.Findings), "%v", report.Findings)
			assert.Equal(t, finding.Refuse, finding.Worst(report.Findings))
			_, err := pgtest.Session(t, kept(t, "unchanged")).Exec(ctx, tt.statement, tt.arguments...)
			require.NoError(t, err, "before the migration it works")
			_, err = pgtest.Session(t, kept(t, "changed")).Exec(ctx, tt.statement, tt.arguments...)
			var server *pgconn.PgError
			require.ErrorAs(t, err, &server)
			assert.Equal(t, tt.fails, server.Code)
		})
	}
}

// A pool of connections meets the change in statements that it has prepared, whatever they use.
func TestOpenConnectionsFailOnceWhereAllColumnsAreRead(t *testing.T) {
	ctx := context.Background()
	const query = "SELECT * FROM users WHERE id = $1"
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE users (id int)")
	conn := pgtest.Session(t, address)
	_, err := conn.Prepare(ctx, "open", query)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "open", 1)
	require.NoError(t, err)
	pgtest.Exec(t, address, "ALTER TABLE users ADD COLUMN more int")
	_, err = conn.Exec(ctx, "open", 1)
	var server *pgconn.PgError
	require.True(t, errors.As(err, &server), "%v", err)
	require.Equal(t, "0A000", server.Code)

	report := compareOn(t, "CREATE TABLE users (id int);", "ALTER TABLE users ADD COLUMN more int", query)
	assert.Equal(t, []string{"warn recycle-connections"}, tellAll(report.Findings))
	assert.Contains(t, report.Findings[0].Message, "0A000")
}

func TestFindingsAreOneForEachThingThatIsGone(t *testing.T) {
	report := compare(t, "ALTER TABLE users DROP COLUMN legacy; DROP TABLE unused",
		"SELECT legacy FROM users", "SELECT u.legacy FROM users u", "INSERT INTO users (email, legacy) VALUES ($1, default)", "SELECT id FROM unused", "SELECT * FROM users")
	assert.Equal(t, []string{
		"refuse breaks-running-release column public.users.legacy", "refuse breaks-running-release table public.unused",
		"warn recycle-connections", "warn result-lacks-column",
	}, tellAll(report.Findings))
	require.Len(t, report.Broken, 4)
	assert.Equal(t, Broken{SQL: "SELECT u.legacy FROM users u", Calls: 10, SQLState: "42703", Message: "column u.legacy does not exist", Object: "column public.users.legacy"}, report.Broken[1])
	f := report.Findings[0]
	assert.Equal(t, "0007_change.sql:1: the running release uses column public.users.legacy, which is gone (SQLSTATE 42703); 3 statements with 30 calls, such as: SELECT legacy FROM users (breaks-running-release)", f.String())
	assert.Equal(t, int64(7), f.Version)
	assert.Contains(t, f.Fix, "keep it in this release")
}

func TestWhatCannotBeCheckedIsListed(t *testing.T) {
	report := compare(t, "ALTER TABLE users DROP COLUMN legacy", "SELECT a FROM temporary", "SELECT 1; SELECT 2", "<insufficient privilege>", "SELECT FROM WHERE", "SELECT now() - interval $1")
	reasons := map[string]string{}
	for _, n := range report.NotCheckable {
		reasons[n.SQL] = n.Reason
	}
	assert.Equal(t, map[string]string{
		"SELECT a FROM temporary":  `relation "temporary" does not exist (SQLSTATE 42P01)`,
		"SELECT 1; SELECT 2":       "cannot insert multiple commands into a prepared statement (SQLSTATE 42601)",
		"<insufficient privilege>": "PostgreSQL does not show its text: read the statements as a member of pg_read_all_stats",
		"SELECT FROM WHERE":        `syntax error at or near "WHERE" (SQLSTATE 42601)`,
	}, reasons)
	assert.Equal(t, 1, report.Statements, "an interval is taken for a parameter")
	assert.Equal(t, []string{"note not-checkable"}, tellAll(report.Findings))
	assert.Contains(t, report.Findings[0].Message, "4 of 5 statements")
}

func TestNothingKnownIsNoEvidence(t *testing.T) {
	report := compare(t, "ALTER TABLE users DROP COLUMN legacy")
	assert.Equal(t, []string{"warn no-evidence"}, tellAll(report.Findings))
}

func TestOddNamesAndSearchPaths(t *testing.T) {
	ctx := context.Background()
	const schema = `CREATE SCHEMA "Odd ""Schema"; CREATE SCHEMA app; CREATE TABLE "Odd ""Schema"."T.x" ("Id ""1" int PRIMARY KEY, "select" text); CREATE TABLE app.users (id int, email text);
		CREATE TYPE app."Mood." AS ENUM ('a'); ALTER TABLE app.users ADD COLUMN mood app."Mood."`
	before, after := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, before, schema)
	pgtest.Exec(t, after, schema)
	pgtest.Exec(t, after, `ALTER TABLE "Odd ""Schema"."T.x" DROP COLUMN "select"; ALTER TABLE "Odd ""Schema"."T.x" ADD COLUMN "New ""one" int NOT NULL;
		ALTER TABLE app.users ADD COLUMN more int NOT NULL; ALTER TYPE app."Mood." RENAME VALUE 'a' TO 'b'`)
	options := Options{Before: connect(t, before), After: connect(t, after), Statements: sends(
		`SELECT "select" FROM "Odd ""Schema"."T.x"`, `INSERT INTO "Odd ""Schema"."T.x" ("Id ""1") VALUES ($1)`, `INSERT INTO users (email) VALUES ($1)`)}
	for _, conn := range []*pgx.Conn{options.Before, options.After} {
		_, err := conn.Exec(ctx, "SET search_path = nowhere, app, public")
		require.NoError(t, err)
	}
	report, err := Check(ctx, options)
	require.NoError(t, err)
	assert.Equal(t, []string{
		`note enum-label-added label app.Mood..b`,
		`refuse breaks-running-release column Odd "Schema.T.x.select`,
		`refuse enum-label-removed label app.Mood..a`,
		`refuse insert-lacks-column column Odd "Schema.T.x.New "one`,
		`refuse insert-lacks-column column app.users.more`,
	}, tellAll(report.Findings))
	for _, conn := range []*pgx.Conn{options.Before, options.After} {
		var path string
		require.NoError(t, conn.QueryRow(ctx, "SELECT current_setting('search_path')").Scan(&path))
		assert.Equal(t, "nowhere, app, public", path, "as it was")
		assert.Equal(t, byte('I'), conn.PgConn().TxStatus())
	}
}

func TestNothingIsExecuted(t *testing.T) {
	ctx := context.Background()
	report := compare(t, "SELECT 1", "DELETE FROM users", "SELECT nextval('numbers')", "CALL visit(1)", "INSERT INTO users (email) VALUES ('a')")
	require.Equal(t, 4, report.Statements)
	for _, name := range []string{"unchanged", "changed"} {
		conn := pgtest.Session(t, kept(t, name))
		var called bool
		require.NoError(t, conn.QueryRow(ctx, "SELECT is_called OR EXISTS (SELECT FROM users) FROM numbers").Scan(&called))
		assert.False(t, called)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Check(ctx, Options{Before: connect(t, kept(t, "unchanged")), After: connect(t, kept(t, "changed")), Statements: sends("SELECT 1")})
	require.ErrorIs(t, err, context.Canceled)
	_, err = Check(context.Background(), Options{})
	require.ErrorContains(t, err, "give a session")
}
