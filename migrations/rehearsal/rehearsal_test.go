package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/plans"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// users is a table of a size at which a lost index is noticed.
const users = `CREATE TABLE users (id bigint PRIMARY KEY, email varchar(80) NOT NULL, visits int, legacy text, at timestamptz DEFAULT now());
	INSERT INTO users SELECT g, 'u' || g || '@example.org', g % 100, 'old', now() FROM generate_series(1, 20000) g;
	CREATE INDEX users_email_idx ON users (email);
	CREATE TABLE visits (id bigint, at timestamptz NOT NULL) PARTITION BY RANGE (at);
	CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
	INSERT INTO visits VALUES (1, '2024-02-03');
	CREATE VIEW people AS SELECT id, email FROM users;
	CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint);
	INSERT INTO orders SELECT g, g FROM generate_series(1, 1000) g`

// usersApplication is what the running release sends.
var usersApplication = []corpus.Statement{
	{SQL: "SELECT id, email, visits FROM users WHERE email = $1", Calls: 100},
	{SQL: "INSERT INTO users (id, email, visits) VALUES ($1, $2, $3)", Calls: 10},
	{SQL: "UPDATE users SET visits = $1 WHERE id = $2", Calls: 10},
}

// rehearse migrates a database with users to version 1 and rehearses what comes then.
func rehearse(t *testing.T, change func(*Options), pairs ...string) (*Report, error) {
	t.Helper()
	address := pgtest.Database(t)
	files := pgtest.Files(append([]string{"1_users.up.sql", users}, pairs...)...)
	base := migrations.Options{FS: files, Folder: folder.Options{Dir: "m"}}
	first := base
	first.URL = address
	m, err := migrations.New(first)
	require.NoError(t, err)
	_, err = m.UpTo(context.Background(), 1)
	require.NoError(t, err)
	pending, err := m.Pending(context.Background())
	require.NoError(t, err)
	o := Options{
		URL: address, Migrate: base, Source: m.Source(), Pending: pending, Statements: usersApplication, Real: true, Scratch: true,
		Budget: Budget{BlockedReads: time.Second, BlockedWrites: time.Second, Duration: time.Minute},
	}
	if change != nil {
		change(&o)
	}
	return Run(context.Background(), o)
}

func TestHarmlessMigrationIsProven(t *testing.T) {
	r, err := rehearse(t, nil, "2_kind.up.sql", "ALTER TABLE users ADD COLUMN kind text;\nCREATE TABLE kinds (name text PRIMARY KEY);")
	require.NoError(t, err)
	assert.Equal(t, Proven, r.Verdict, r.Reasons)
	assert.Equal(t, Back, r.RoundTrip.Verdict)
}

// nulls are the places in JSON that are null.
func nulls(at string, value any) (list []string) {
	switch v := value.(type) {
	case nil:
		return []string{at}
	case []any:
		for _, e := range v {
			list = append(list, nulls(at+"[]", e)...)
		}
	case map[string]any:
		for name, e := range v {
			list = append(list, nulls(at+"."+name, e)...)
		}
	}
	return list
}

func TestListsOfTheEncodedReportAreNeverNull(t *testing.T) {
	whole := []string{".backup"} // the copy is no backup's
	unfinished := []string{".backup", ".compatibility", ".plans"}
	for name, test := range map[string]struct {
		files []string
		null  []string
	}{
		"nothing is pending":                  {nil, unfinished},
		"a harmless migration":                {[]string{"2_kind.up.sql", "ALTER TABLE users ADD COLUMN kind text"}, whole},
		"nothing is locked":                   {[]string{"2_kinds.up.sql", "CREATE TABLE kinds (name text)"}, whole},
		"outside of a transaction":            {[]string{"2_index.up.sql", "CREATE INDEX CONCURRENTLY users_at_idx ON users (at)"}, whole},
		"an index is lost":                    {[]string{"2_index.up.sql", "DROP INDEX users_email_idx"}, whole},
		"a migration without a way back":      {[]string{"2_legacy.up.sql", "ALTER TABLE users DROP COLUMN legacy"}, whole},
		"a migration that breaks old code":    {[]string{"2_visits.up.sql", "ALTER TABLE users RENAME COLUMN visits TO seen"}, whole},
		"a migration that fails":              {[]string{"2_fails.up.sql", "ALTER TABLE users ADD COLUMN email text"}, append(unfinished, ".drift")},
		"a migration whose verification says": {[]string{"2_no.up.sql", "-- deploy: verify SELECT false\nSELECT 1"}, append(unfinished, ".drift")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := rehearse(t, nil, test.files...)
			require.NotEmpty(t, r.Verdict, "%v", err)
			text, err := json.Marshal(r)
			require.NoError(t, err)
			var encoded any
			require.NoError(t, json.Unmarshal(text, &encoded))
			for _, at := range nulls("", encoded) {
				assert.Contains(t, test.null, at)
			}
		})
	}
}

func TestLostIndexIsToldWhereItIsDropped(t *testing.T) {
	r, err := rehearse(t, nil, "2_index.up.sql", "CREATE TABLE kinds (name text);\n\nDROP INDEX users_email_idx;", "3_kind.up.sql", "ALTER TABLE users ADD COLUMN kind text")
	require.NoError(t, err)
	var places []string
	for _, f := range r.Findings {
		if f.Name == string(plans.IndexLost) {
			places = append(places, f.Place())
			assert.Equal(t, 2, f.Statement)
		}
	}
	assert.Equal(t, []string{"m/2_index.up.sql:3"}, places)
	assert.Equal(t, "m/2_index.up.sql:3", r.Plans.Regressions[0].Finding.Place())
	assert.Equal(t, Refuse, r.Statements[1].Verdict)
}

func TestStatementsThatWereForgottenAreMissed(t *testing.T) {
	r, err := rehearse(t, func(o *Options) { o.Forgotten = 3 }, "2_kind.up.sql", "ALTER TABLE users ADD COLUMN kind text")
	require.NoError(t, err)
	i := slices.IndexFunc(r.Findings, func(f finding.Finding) bool { return f.Name == "statements-forgotten" })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, finding.Warn, r.Findings[i].Level)
	assert.Contains(t, r.Findings[i].Message, "3 times")
	assert.Equal(t, Proven, r.Verdict)
}

func TestLocksOfStatementsBeforeAreHeldInATransactionAlone(t *testing.T) {
	const held = "runs while locks of statements before it are held"
	r, err := rehearse(t, nil, "2_together.up.sql", "ALTER TABLE users ADD COLUMN kind text;\nSELECT count(*) FROM users;",
		"3_apart.up.sql", "-- deploy: no-transaction\nALTER TABLE users ADD COLUMN more text;\nSELECT 1;",
		"4_first.up.sql", "SELECT 1;\nALTER TABLE users ADD COLUMN most text")
	require.NoError(t, err)
	var reasons []string
	for _, s := range r.Statements {
		reasons = append(reasons, s.Reason)
	}
	require.Len(t, reasons, 6)
	assert.Contains(t, reasons[0], "takes ACCESS EXCLUSIVE")
	assert.Contains(t, reasons[1], held)
	for _, i := range []int{0, 2, 3, 4, 5} {
		assert.NotContains(t, reasons[i], held, r.Statements[i].SQL)
	}
}

func TestPartitionWithRowsIsNotTakenFromTheRunningReleaseInSilence(t *testing.T) {
	const detach = "ALTER TABLE visits DETACH PARTITION visits_2024"
	for name, test := range map[string]struct {
		sql  string
		want Verdict
	}{
		"not declared":           {detach, Refused},
		"declared":               {"-- deploy: changes visits\n" + detach, Proven},
		"declared with schema":   {"-- deploy: changes public.visits\n" + detach, Proven},
		"declared for others":    {"-- deploy: changes users\n" + detach, Refused},
		"allowed, with a reason": {"-- deploy: allow partition-removed nobody looks at 2024\n" + detach, Proven},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := rehearse(t, func(o *Options) {
				o.Statements = []corpus.Statement{{SQL: "SELECT id FROM visits WHERE at > $1", Calls: 7}}
			},
				"2_detach.up.sql", test.sql, "2_detach.down.sql", "ALTER TABLE visits ATTACH PARTITION visits_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')")
			require.NoError(t, err)
			assert.Equal(t, test.want, r.Verdict, r.Reasons)
		})
	}
}

func TestRowsAreNotHiddenFromTheRunningRelease(t *testing.T) {
	const (
		view    = "CREATE OR REPLACE VIEW people AS SELECT id, email FROM users"
		trigger = `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN %s; END';
			CREATE TRIGGER keep BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep()`
		noTrigger = "DROP TRIGGER keep ON users; DROP FUNCTION keep()"
	)
	for name, test := range map[string]struct {
		up, down string
		want     Verdict
	}{
		"a view that shows fewer rows":    {view + " WHERE id < 0", view, Refused},
		"a view that shows the same rows": {view + " WHERE id > 0", view, Proven},
		"a view that is made anew with other columns": {"DROP VIEW people;\nCREATE VIEW people AS SELECT email, id, visits FROM users",
			"DROP VIEW people;\nCREATE VIEW people AS SELECT id, email FROM users", Proven},
		"a trigger that drops updates":                    {fmt.Sprintf(trigger, "NULL"), noTrigger, Refused},
		"a trigger that lets them pass":                   {fmt.Sprintf(trigger, "NEW"), noTrigger, Proven},
		"rows that the migration deletes, as it declares": {"-- deploy: changes users\n-- deploy: irreversible they are archived\nDELETE FROM users", "", Proven},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := []string{"2_next.up.sql", test.up}
			if test.down != "" {
				files = append(files, "2_next.down.sql", test.down)
			}
			r, err := rehearse(t, func(o *Options) {
				o.Statements = []corpus.Statement{{SQL: "SELECT email FROM people WHERE id = $1", Calls: 7}, {SQL: "UPDATE users SET visits = $1 WHERE id = $2", Calls: 5}}
			}, files...)
			require.NoError(t, err)
			assert.Equal(t, test.want, r.Verdict, r.Reasons)
		})
	}
}

func TestLockModesAreSpelledAsInSQL(t *testing.T) {
	for mode, want := range map[string]string{
		"AccessShareLock": "ACCESS SHARE", "RowExclusiveLock": "ROW EXCLUSIVE", "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
		"ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE", "ExclusiveLock": "EXCLUSIVE", "AccessExclusiveLock": "ACCESS EXCLUSIVE",
	} {
		assert.Equal(t, want, spelled(mode))
	}
}
