package backfill

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// slowly makes every changed row of t take a while.
func slowly(t *testing.T, address string, perRow time.Duration) {
	t.Helper()
	pgtest.Exec(t, address, fmt.Sprintf(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(%f); RETURN NEW; END $$;
		CREATE TRIGGER slow BEFORE UPDATE ON t FOR EACH ROW WHEN (NEW.n <> -1) EXECUTE FUNCTION slow()`, perRow.Seconds()))
}

// owner makes a user without privileges, and a database that has it as the owner of public.
func owner(t *testing.T) (address, asOwner string) {
	t.Helper()
	pgtest.Exec(t, pgtest.Server(t), "DROP ROLE IF EXISTS backfill_owner; CREATE ROLE backfill_owner LOGIN PASSWORD 'x'")
	t.Cleanup(func() { pgtest.Exec(t, pgtest.Server(t), "DROP ROLE backfill_owner") })
	address = pgtest.Database(t)
	pgtest.Exec(t, address, "ALTER SCHEMA public OWNER TO backfill_owner")
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword("backfill_owner", "x")
	return address, u.String()
}

// A batch of 200 rows would keep its first row locked for a second. The user of the migration sees no more of others than
// every user does.
func TestWriterThatWaitsForABatchIsLetThrough(t *testing.T) {
	address, asOwner := owner(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0, other int); INSERT INTO t SELECT generate_series(1, 200)")
	slowly(t, address, 5*time.Millisecond)
	pgtest.Exec(t, address, "ALTER TABLE t OWNER TO backfill_owner")
	writer := connect(t, address)
	waited := make(chan time.Duration, 1)
	go func() {
		pgtest.Eventually(t, address, pgtest.Sleeping)
		start := time.Now()
		_, err := writer.Exec(context.Background(), "UPDATE t SET other = 1, n = -1 WHERE k = 1")
		assert.NoError(t, err)
		waited <- time.Since(start)
	}()
	o := options(t, asOwner, "-- deploy: backfill t by k batch 200\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2")
	var reasons []string
	var batches []int
	o.Observe = func(p Progress) { reasons, batches = append(reasons, p.Throttled), append(batches, p.Batch) }
	p, err := Run(context.Background(), connect(t, asOwner), o)
	require.NoError(t, err)
	assert.Less(t, <-waited, 700*time.Millisecond, "a tenth of a second, and what a busy machine adds")
	assert.Contains(t, strings.Join(reasons, "\n"), "attempt 1 failed: canceling statement due to user request (57014); again in ")
	assert.Contains(t, strings.Join(reasons, "\n"), "took")
	assert.Less(t, batches[len(batches)-1], 50)
	assert.Equal(t, int64(200), p.Done)
	assert.Equal(t, "0 1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"), "the writer's -1 became 0")
}

func TestBatchOfOneRowIsNotGivenUp(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t VALUES (1)")
	slowly(t, address, 500*time.Millisecond)
	writer := connect(t, address)
	written := make(chan error, 1)
	go func() {
		pgtest.Eventually(t, address, pgtest.Sleeping)
		_, err := writer.Exec(context.Background(), "UPDATE t SET n = -1")
		written <- err
	}()
	o := options(t, address, "-- deploy: backfill t by k batch 1\nUPDATE t SET n = 1 WHERE k BETWEEN $1 AND $2 AND n = 0")
	var reasons []string
	o.Observe = func(p Progress) { reasons = append(reasons, p.Throttled) }
	p, err := Run(context.Background(), connect(t, address), o)
	require.NoError(t, err)
	require.NoError(t, <-written)
	assert.Equal(t, int64(1), p.Done)
	assert.Regexp(t, `another session waited \d+ms for a batch of 1 rows`, strings.Join(reasons, "\n"))
}

func TestSessionOfAnotherServerIsNotWatched(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 20)")
	slowly(t, address, 20*time.Millisecond)
	writer := connect(t, address)
	written := make(chan error, 1)
	go func() {
		pgtest.Eventually(t, address, pgtest.Sleeping)
		_, err := writer.Exec(context.Background(), "UPDATE t SET n = -1 WHERE k = 1")
		written <- err
	}()
	o := options(t, pgtest.Server(t), "-- deploy: backfill t by k batch 20\nUPDATE t SET n = 1 WHERE k BETWEEN $1 AND $2 AND n = 0") // of another database
	var reasons []string
	o.Observe = func(p Progress) { reasons = append(reasons, p.Throttled) }
	_, err := Run(context.Background(), connect(t, address), o)
	require.NoError(t, err)
	require.NoError(t, <-written)
	assert.NotContains(t, strings.Join(reasons, "\n"), "57014")
	assert.Contains(t, strings.Join(reasons, "\n"), "a batch of 20 rows took")
}

// passed is a clock in which nothing but pauses takes time.
func passed(o *Options) *[]time.Duration {
	now := time.Unix(0, 0)
	pauses := &[]time.Duration{}
	o.clock = clock{now: func() time.Time { return now }, random: func() float64 { return 0 }, pause: func(_ context.Context, d time.Duration) error {
		*pauses = append(*pauses, d)
		now = now.Add(d)
		return nil
	}}
	return pauses
}

func TestRowThatIsLockedIsTriedAgainInSmallerBatches(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	holder := connect(t, address)
	_, err := holder.Exec(context.Background(), "BEGIN; UPDATE t SET n = n WHERE k = 5", pgtest.Simply)
	require.NoError(t, err)
	o := options(t, address, strings.Replace(count, "batch 3", "batch 8", 1))
	o.LockTimeout = 20 * time.Millisecond
	pauses := passed(&o)
	var batches []int
	o.Observe = func(p Progress) {
		if strings.Contains(p.Throttled, "canceling statement due to lock timeout (55P03)") {
			if batches = append(batches, p.Batch); len(batches) == 3 {
				_, err := holder.Exec(context.Background(), "COMMIT")
				require.NoError(t, err)
			}
		}
	}
	p, err := Run(context.Background(), connect(t, address), o)
	require.NoError(t, err)
	assert.Equal(t, []int{4, 2, 1}, batches[:3], "the first four rows are not kept from it, but the batch of four was being pondered")
	assert.Equal(t, int64(20), p.Done)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"))
	assert.Contains(t, *pauses, again(1, 0))
}

func TestRowThatStaysLockedEndsWithTheBudget(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	holder := connect(t, address)
	_, err := holder.Exec(context.Background(), "BEGIN; UPDATE t SET n = n WHERE k = 5", pgtest.Simply)
	require.NoError(t, err)
	o := options(t, address, strings.Replace(count, "batch 3", "batch 4", 1))
	o.LockTimeout, o.RetryBudget = 10*time.Millisecond, time.Second
	pauses := passed(&o)
	p, err := Run(context.Background(), connect(t, address), o)
	require.ErrorContains(t, err, "m/7_fill.up.sql:2: canceling statement due to lock timeout (55P03)")
	require.ErrorContains(t, err, "gave up after 5 attempts in 750ms")
	assert.Equal(t, []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}, *pauses)
	assert.Equal(t, Failed, p.State)
	assert.Equal(t, int64(4), p.Done)
}

func TestDeadlockWithTheApplicationIsTriedAgain(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	application := connect(t, address)
	_, err := application.Exec(context.Background(), "SET deadlock_timeout = '1h'; BEGIN; UPDATE t SET n = n WHERE k = 3", pgtest.Simply) // so that the backfill is the victim
	require.NoError(t, err)
	conn := connect(t, address)
	crossed := make(chan error, 1)
	go func() {
		pgtest.Eventually(t, address, fmt.Sprintf("EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %d)", conn.PgConn().PID()))
		_, err := application.Exec(context.Background(), "UPDATE t SET n = n WHERE k = 1; COMMIT", pgtest.Simply)
		crossed <- err
	}()
	o := options(t, address, count)
	o.LockTimeout, o.MaxBlocked = time.Minute, time.Minute // nothing but the deadlock ends the wait
	var reasons []string
	o.Observe = func(p Progress) { reasons = append(reasons, p.Throttled) }
	p, err := Run(context.Background(), conn, o)
	require.NoError(t, err)
	require.NoError(t, <-crossed)
	assert.Contains(t, strings.Join(reasons, "\n"), "attempt 1 failed: deadlock detected (40P01); again in ")
	assert.Equal(t, int64(20), p.Done)
	assert.Equal(t, "1", pgtest.Value(t, address, "SELECT string_agg(DISTINCT n::text, ' ') FROM t"))
}

func TestBatchThatRunsIntoTheStatementTimeoutIsHalved(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 20)")
	slowly(t, address, 10*time.Millisecond)
	o := options(t, address, "-- deploy: backfill t by k batch 20\nUPDATE t SET n = 1 WHERE k BETWEEN $1 AND $2 AND n = 0")
	o.StatementTimeout, o.MaxBlocked = 150*time.Millisecond, time.Minute
	var reasons []string
	o.Observe = func(p Progress) { reasons = append(reasons, p.Throttled) }
	p, err := Run(context.Background(), connect(t, address), o)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(reasons, "\n"), "canceling statement due to statement timeout (57014)")
	assert.Equal(t, int64(20), p.Done)
}

func TestAdministratorWhoCancelsIsObeyed(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	conn := connect(t, address)
	go func() {
		pgtest.Eventually(t, address, pgtest.Sleeping)
		pgtest.Exec(t, address, fmt.Sprintf("SELECT pg_cancel_backend(%d)", conn.PgConn().PID()))
	}()
	o := options(t, address, "-- deploy: backfill t by k\nUPDATE t SET n = n + 1 WHERE k BETWEEN $1 AND $2 AND pg_sleep(10) IS NOT NULL")
	p, err := Run(context.Background(), conn, o)
	require.ErrorContains(t, err, "canceling statement due to user request (57014)")
	assert.Equal(t, Failed, p.State)
	assert.Zero(t, p.Batches)
}

func TestBackfillWaitsForReplicas(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	o := options(t, address, strings.Replace(count, "batch 3", "batch 3 pause 700ms", 1))
	pauses := passed(&o)
	behind := []time.Duration{10 * time.Second, 25 * time.Second, 10*time.Second + 1, 3 * time.Second}
	o.clock.lag = func(context.Context, *pgx.Conn) (string, time.Duration, error) {
		if len(behind) == 0 {
			return "", 0, nil
		}
		now := behind[0]
		behind = behind[1:]
		return "standby", now, nil
	}
	var waits []Progress
	o.Observe = func(p Progress) {
		if strings.Contains(p.Throttled, "replica") {
			waits = append(waits, p)
			assert.Equal(t, p.Throttled, pgtest.Value(t, address, "SELECT throttled FROM deploy_backfills"), "others see it, too")
		}
	}
	p, err := Run(context.Background(), connect(t, address), o)
	require.NoError(t, err)
	require.Len(t, waits, 2)
	assert.Equal(t, "replica standby is 25s behind", waits[0].Throttled)
	assert.Equal(t, int64(2), waits[0].Batches, "looked at before the first batch, and a second later")
	const pause = 700 * time.Millisecond
	assert.Equal(t, []time.Duration{pause, pause, time.Second, time.Second, pause}, (*pauses)[:5])
	assert.Empty(t, p.Throttled)
}

func TestBackfillThatWaitsForReplicasCanBePaused(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, twentyRows)
	o := options(t, address, count)
	passed(&o)
	o.clock.lag = func(context.Context, *pgx.Conn) (string, time.Duration, error) { return "standby", time.Hour, nil }
	o.Observe = func(p Progress) {
		if p.State == Running && p.Throttled != "" {
			require.NoError(t, Pause(context.Background(), connect(t, address), "public", version))
		}
	}
	_, err := Run(context.Background(), connect(t, address), o)
	require.ErrorIs(t, err, ErrPaused)
	assert.Equal(t, "0", pgtest.Value(t, address, "SELECT sum(n) FROM t"))
}
