package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// holderVariable makes the test's program a holder of a lock, on the database of its URL.
const holderVariable = "PIPELINE_TEST_LEDGER_HOLDER"

func TestMain(m *testing.M) {
	if address := os.Getenv(holderVariable); address != "" {
		os.Exit(hold(address))
	}
	pgtest.Main(m)
}

var background = context.Background()

// quick are options for tests. A lease lasts longer than any test, unless that is what it is about.
var quick = Options{Patience: time.Minute, TTL: 10 * time.Minute, Poll: 5 * time.Millisecond}

// open opens the ledger of a database.
func open(t testing.TB, address string, options Options) *Ledger {
	t.Helper()
	l, err := Open(background, address, options)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

// fresh is a ledger in a database of its own.
func fresh(t testing.TB) (*Ledger, string) {
	t.Helper()
	address := pgtest.Database(t)
	return open(t, address, quick), address
}

func holder(name string) Holder {
	return Holder{Name: name, Host: "builder", PID: 7, Purpose: "deploy v1"}
}

func acquire(t testing.TB, l *Ledger, environment string) *Lease {
	t.Helper()
	lease, err := l.Acquire(background, environment, holder("ann"), 0)
	require.NoError(t, err)
	t.Cleanup(func() { lease.lose(lease.lost("the test has ended")); <-lease.ended })
	return lease
}

// started is a deployment of a release that has begun.
func started(t testing.TB, l *Ledger, lease *Lease, id, release string) {
	t.Helper()
	require.NoError(t, l.RecordRelease(background, Release{Version: release, Commit: "c" + release}))
	require.NoError(t, lease.Begin(background, Deployment{ID: id, Release: release, Kind: Deploy, By: "ann", Plan: "p-" + id}))
}

// noon is when tests say that something was.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 123456000, time.UTC)

func entry(id string, state deploy.State, release string) deploy.Entry {
	return deploy.Entry{Deployment: id, At: noon, State: state, Slot: deploy.Green, Release: release, Detail: "because"}
}

func write(t testing.TB, lease *Lease, id, release string, states ...deploy.State) {
	t.Helper()
	for _, s := range states {
		require.NoError(t, lease.Write(background, entry(id, s, release)))
	}
}

// key is a key to sign checkpoints, and who trusts it.
func key(t testing.TB) (note.Signer, note.Verifiers) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, "ledger.test")
	require.NoError(t, err)
	signer, err := note.NewSigner(secret)
	require.NoError(t, err)
	verifier, err := note.NewVerifier(public)
	require.NoError(t, err)
	return signer, note.VerifierList(verifier)
}

// sound asserts that the audit log is what was written, and has so many records.
func sound(t testing.TB, l *Ledger, size int64) {
	t.Helper()
	result, err := l.Verify(background, note.VerifierList())
	require.NoError(t, err)
	assert.Equal(t, size, result.Size)
}

func TestTwentyOpenAnEmptyDatabaseAtOnce(t *testing.T) {
	address := pgtest.Database(t)
	ids := make([]string, 20)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			l, err := Open(background, address, quick)
			if assert.NoError(t, err) {
				ids[i] = l.ID()
				l.Close()
			}
		})
	}
	group.Wait()
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
		assert.Len(t, id, 36)
	}
	assert.Equal(t, "2", pgtest.Value(t, address, "SELECT count(*) FROM pipeline.ledger_schema"))
}

func TestSchemaThatIsNotOurs(t *testing.T) {
	cases := map[string]struct{ sql, says string }{
		"of a newer pipeline":       {"INSERT INTO pipeline.ledger_schema (version) VALUES (99)", "version 99, but this pipeline knows 2 at most"},
		"of an application":         {"DROP SCHEMA pipeline CASCADE; CREATE SCHEMA pipeline CREATE TABLE stages (a int)", "is not a ledger's"},
		"with a table that is gone": {"DROP TABLE pipeline.verdicts", "pipeline.verdicts"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l, address := fresh(t)
			l.Close()
			pgtest.Exec(t, address, c.sql)
			_, err := Open(background, address, quick)
			require.ErrorContains(t, err, c.says)
			assert.NotErrorIs(t, err, ErrUnreachable)
		})
	}
}

func TestDatabaseInAnotherEncodingIsRefused(t *testing.T) {
	server := pgtest.Server(t)
	name := "latin_" + strings.ToLower(rand.Text())
	pgtest.Exec(t, server, "CREATE DATABASE "+name+" ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() { pgtest.Exec(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	_, err := Open(background, strings.Replace(server, "/postgres?", "/"+name+"?", 1), quick)
	require.ErrorContains(t, err, "make one with ENCODING 'UTF8'")
}

// as is the URL for another role.
func as(address, role string) string {
	return strings.Replace(address, "//postgres:", "//"+role+":", 1)
}

func TestRoleWithoutPrivilegesIsToldWhatToGrant(t *testing.T) {
	makeSchema := func(t *testing.T, address string) { open(t, address, quick).Close() }
	cases := map[string]struct {
		before func(*testing.T, string)
		grants int
	}{
		"to make the schema":               {func(*testing.T, string) {}, 1},
		"to use an empty schema":           {func(t *testing.T, a string) { pgtest.Exec(t, a, "CREATE SCHEMA pipeline") }, 1},
		"to use the schema of another one": {makeSchema, 4},
		"to use some of its tables": {func(t *testing.T, a string) {
			makeSchema(t, a)
			pgtest.Exec(t, a, `GRANT USAGE ON SCHEMA pipeline TO PUBLIC; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA pipeline TO PUBLIC;
				GRANT UPDATE ON pipeline.locks, pipeline.deployments, pipeline.lock_requests TO PUBLIC`)
		}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			address := pgtest.Database(t)
			role := "ci-" + strings.ToLower(rand.Text())
			pgtest.Exec(t, address, fmt.Sprintf(`CREATE ROLE "%s" LOGIN PASSWORD '%s'`, role, pgtest.Password))
			t.Cleanup(func() { pgtest.Exec(t, address, fmt.Sprintf(`DROP OWNED BY "%s" CASCADE; DROP ROLE "%s"`, role, role)) })
			c.before(t, address)
			_, err := Open(background, as(address, role), quick)
			var lacking *PrivilegeError
			require.ErrorAs(t, err, &lacking)
			assert.Equal(t, role, lacking.Role)
			assert.Len(t, lacking.Grants, c.grants)
			assert.NotContains(t, err.Error(), pgtest.Password)
			pgtest.Exec(t, address, strings.Join(lacking.Grants, " "))

			// Exactly that is enough for everything.
			options := quick
			options.Mirror = true
			l := open(t, as(address, role), options)
			lease := acquire(t, l, "production")
			started(t, l, lease, "d1", "v1")
			write(t, lease, "d1", "v1", deploy.Planned, deploy.Done)
			require.NoError(t, lease.Bad(background, "d1", noon, noon))
			require.NoError(t, lease.Measure(background, "d1", Measurement{Name: "requests", At: noon, Value: 1}))
			require.NoError(t, l.Request(background, Plan{Hash: "p", By: "ann"}))
			require.NoError(t, l.Approve(background, "p", "bob", time.Hour))
			require.NoError(t, l.RecordVerdict(background, Verdict{Environment: "production", Verdict: deploy.Verdict{From: "v2", To: "v1", Safety: deploy.Safe}}))
			require.NoError(t, l.keep(background, "d1", 3))
			m, found, err := l.next(background)
			require.NoError(t, err)
			require.True(t, found)
			require.NoError(t, l.delivered(background, m))
			signer, trusted := key(t)
			_, err = l.Sign(background, signer)
			require.NoError(t, err)
			require.NoError(t, lease.Release(background))
			_, err = l.Verify(background, trusted)
			require.NoError(t, err)
			_, err = l.Status(background, "production")
			require.NoError(t, err)
		})
	}
}

func TestErrorsShowNoPassword(t *testing.T) {
	impatient := Options{Patience: time.Millisecond}
	for _, address := range []string{
		"postgres://ann:" + pgtest.Password + "@127.0.0.1:1/ledger", // a percent sign that escapes nothing
		"postgres://ann:sesame@127.0.0.1:1/ledger?sslmode=disable",
		"host=127.0.0.1 port=1 password=sesame dbname=ledger sslmode=off",
	} {
		_, err := Open(background, address, impatient)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "sesame")
		assert.NotContains(t, err.Error(), "battery")
	}
}

func TestDatabaseWithOddDefaults(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE SCHEMA "Odd ""one"; CREATE FUNCTION "Odd ""one".clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''1970-01-01''::timestamptz';
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = "Odd ""one", pg_catalog', current_database());
			EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
			EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Kathmandu''', current_database());
			EXECUTE format('ALTER DATABASE %I SET datestyle = ''German, DMY''', current_database());
			EXECUTE format('ALTER DATABASE %I SET bytea_output = escape', current_database()); END $$`)
	l := open(t, address, quick)
	lease := acquire(t, l, "production")
	started(t, l, lease, "d1", "v1")
	write(t, lease, "d1", "v1", deploy.Planned, deploy.Done)
	held, err := lease.heartbeat(time.Minute)
	require.NoError(t, err)
	assert.True(t, held)
	sound(t, l, 3)
	s, err := l.Status(background, "production")
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), s.Lock.Acquired, time.Hour, "the database's own clock")
	assert.False(t, s.Lock.Expired)
}
