package migrations

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations/script"
)

// fakeRetry counts time by pausing alone.
func fakeRetry(budget time.Duration, random float64) (retry, *[]time.Duration) {
	now := time.Unix(0, 0)
	pauses := &[]time.Duration{}
	return retry{
		budget: budget, notice: func(string) {}, random: func() float64 { return random },
		now: func() time.Time { return now },
		pause: func(_ context.Context, d time.Duration) error {
			*pauses = append(*pauses, d)
			now = now.Add(d)
			return nil
		},
	}, pauses
}

func TestRetryPausesDoubleUpToALimit(t *testing.T) {
	r, pauses := fakeRetry(time.Minute, 0.999999999)
	err := r.do(context.Background(), "f", func(int, time.Duration) error {
		return &pgconn.PgError{Code: pgerrcode.LockNotAvailable, Message: "no"}
	})
	require.ErrorContains(t, err, "gave up after")
	for i, p := range *pauses {
		want := longestPause
		if i < 6 {
			want = firstPause << i
		}
		assert.InDelta(t, float64(want), float64(p), float64(time.Microsecond), "pause %d", i+1)
	}
	total := time.Duration(0)
	for _, p := range *pauses {
		total += p
	}
	assert.LessOrEqual(t, total, time.Minute)
	assert.Greater(t, total, time.Minute-longestPause)
}

func TestRetryPauseIsAtLeastHalfAndNeverOverflows(t *testing.T) {
	for _, random := range []float64{0, 0.5, 0.999} {
		r, _ := fakeRetry(0, random)
		for _, attempt := range []int{1, 2, 5, 6, 10, 11, 63, 64, 65, 1000, math.MaxInt} {
			d := r.delay(attempt)
			assert.GreaterOrEqual(t, d, firstPause/2)
			assert.LessOrEqual(t, d, longestPause)
		}
	}
}

func TestRetryIsForWhatPasses(t *testing.T) {
	tests := []struct {
		name     string
		err      error
		attempts int
	}{
		{"a lock that was not got in time", &pgconn.PgError{Code: "55P03"}, 3},
		{"a deadlock, wrapped", fmt.Errorf("x: %w", &script.Error{Cause: &pgconn.PgError{Code: "40P01"}}), 3},
		{"a serialization failure", &pgconn.PgError{Code: "40001"}, 3},
		{"a syntax error", &pgconn.PgError{Code: "42601"}, 1},
		{"a statement timeout", &pgconn.PgError{Code: "57014"}, 1},
		{"a lost connection", errors.New("EOF"), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := fakeRetry(time.Minute, 0)
			attempts := 0
			err := r.do(context.Background(), "f", func(n int, _ time.Duration) error {
				attempts++
				assert.Equal(t, attempts, n)
				if n == 3 {
					return nil
				}
				return tt.err
			})
			assert.Equal(t, tt.attempts, attempts)
			assert.Equal(t, tt.attempts == 3, err == nil)
		})
	}
}

func TestLockThatIsBusyIsTriedAgainWhenWhoHeldItIsGone(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int)")
	holder := pgtest.Session(t, pgtest.Named(address, "report-job"))
	_, err := holder.Exec(context.Background(), "BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE", pgtest.Simply)
	require.NoError(t, err)
	var notices []string
	m := migrator(t, address, pgtest.Files("1_a.up.sql", "CREATE TABLE n (); ALTER TABLE t ADD COLUMN b int"), func(o *Options) {
		o.LockTimeout = time.Second // time to connect and look, on a busy machine
		o.Notice = func(n string) {
			if notices = append(notices, n); strings.Contains(n, "waiting for") {
				_, err := holder.Exec(context.Background(), "COMMIT")
				assert.NoError(t, err)
			}
		}
	})
	outcome, err := m.Up(context.Background())
	require.NoError(t, err)
	applied := outcome.Applied[0]
	assert.Equal(t, 2, applied.Attempts, "the second is made when it can succeed, for each one in vain keeps everybody waiting")
	require.Len(t, applied.Blockers, 1)
	assert.Regexp(t, `^pid \d+ \(report-job, user postgres, idle in transaction`, applied.Blockers[0])
	assert.Less(t, applied.Duration, outcome.Elapsed-m.options.LockTimeout, "of the attempt that succeeded")
	require.Len(t, notices, 2)
	assert.Regexp(t, `^m/1_a.up.sql: attempt 1: canceling statement due to lock timeout \(55P03\); again in`, notices[0])
	assert.Regexp(t, `^m/1_a.up.sql: waiting for pid \d+ \(report-job`, notices[1])
	entries, err := m.History(context.Background())
	require.NoError(t, err)
	assert.Equal(t, 2, entries[0].Attempts)
	assert.Equal(t, applied.Blockers, entries[0].Blockers)
}

func TestWhoHasBeenAtTheTablesForLongIsToldBeforeTheFirstAttempt(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int); CREATE TABLE other (a int)")
	for name, table := range map[string]string{"long-report": "t", "elsewhere": "other"} {
		holder := pgtest.Session(t, pgtest.Named(address, name))
		_, err := holder.Exec(context.Background(), "BEGIN; SELECT * FROM "+table, pgtest.Simply)
		require.NoError(t, err)
	}
	pgtest.Eventually(t, address, "count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND xact_start < clock_timestamp() - interval '100 ms'")
	var notices []string
	_, err := migrator(t, address, pgtest.Files("1_a.up.sql", "UPDATE t SET a = 1"), func(o *Options) {
		o.Notice = func(n string) { notices = append(notices, n) }
	}).Up(context.Background())
	require.NoError(t, err)
	require.Len(t, notices, 1)
	assert.Regexp(t, `^m/1_a.up.sql: may have to wait for pid \d+ \(long-report`, notices[0])
}

func TestLockThatStaysBusyEndsWithWhoIsInTheWay(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t (a int)")
	holder := pgtest.Session(t, pgtest.Named(address, "report-job"))
	_, err := holder.Exec(context.Background(), "BEGIN; SELECT * FROM t", pgtest.Simply)
	require.NoError(t, err)
	_, err = migrator(t, address, pgtest.Files("1_a.up.sql", "SELECT 1;\nALTER TABLE t ADD COLUMN b int"), func(o *Options) {
		o.RetryBudget, o.LockTimeout = 500*time.Millisecond, 50*time.Millisecond
	}).Up(context.Background())
	require.ErrorContains(t, err, "m/1_a.up.sql:2: canceling statement due to lock timeout (55P03)")
	assert.Regexp(t, `gave up after \d+ attempts in \S+\n  oldest open transactions: pid \d+ \(report-job, user postgres, idle in transaction, open for 00:00:0\d\)$`, err.Error())
	assert.Equal(t, "none", pgtest.Value(t, address, stateQuery))
}

func TestDeadlockIsTriedAgain(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE a (i int); CREATE TABLE b (i int)")
	other := pgtest.Session(t, address)
	_, err := other.Exec(context.Background(), "SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE b", pgtest.Simply) // so that we are the victim
	require.NoError(t, err)
	crossed := make(chan error, 1)
	go func() {
		pgtest.Eventually(t, address, "EXISTS (SELECT FROM pg_locks WHERE relation = 'a'::regclass AND granted)")
		_, err := other.Exec(context.Background(), "LOCK TABLE a; COMMIT", pgtest.Simply)
		crossed <- err
	}()
	outcome, err := migrator(t, address, pgtest.Files("1_a.up.sql", "SET LOCAL lock_timeout = '30s'; LOCK TABLE a; LOCK TABLE b; ALTER TABLE b ADD COLUMN c int")).Up(context.Background())
	require.NoError(t, err)
	require.NoError(t, <-crossed)
	assert.Equal(t, 2, outcome.Applied[0].Attempts)
}
