package migrations

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// Defaults of Options. There is no way to say "without timeout": a statement that waits for a lock makes everybody who
// comes after it wait too, so the attempt is given up, the queue let through, and the whole transaction tried again.
// GitLab's helper makes its last attempt without a timeout; that is the part not to copy.
const (
	// DefaultLockTimeout is how long a statement waits for a lock, and thus how long it makes others wait.
	DefaultLockTimeout = time.Second
	// DefaultStatementTimeout ends a statement that hangs; builds of large indexes need more.
	DefaultStatementTimeout = 15 * time.Minute
	// DefaultLockWait is how long to wait for another migrator.
	DefaultLockWait = 5 * time.Minute
	// DefaultRetryBudget is how long to keep trying to get the locks of one migration.
	DefaultRetryBudget = 2 * time.Minute
)

// The pauses between attempts double, between these.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// retry repeats what failed for the sake of other sessions.
type retry struct {
	budget time.Duration
	now    func() time.Time
	pause  func(context.Context, time.Duration) error
	random func() float64 // at least 0, below 1
	notice func(string)
}

func newRetry(budget time.Duration, notice func(string)) retry {
	return retry{budget: budget, now: time.Now, pause: pg.Pause, random: rand.Float64, notice: notice}
}

// do calls attempt, with its number from 1 and what is left of the budget, until it succeeds, fails for a reason that time
// does not heal, or the budget would be spent before the next attempt.
func (r retry) do(ctx context.Context, what string, attempt func(n int, left time.Duration) error) error {
	start := r.now()
	for n := 1; ; n++ {
		err := attempt(n, r.budget-r.now().Sub(start))
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		wait := r.delay(n)
		if spent := r.now().Sub(start); spent+wait > r.budget {
			return fmt.Errorf("%w\n  gave up after %d attempts in %s", err, n, spent.Round(time.Millisecond))
		}
		var server *pgconn.PgError
		errors.As(err, &server)
		r.notice(fmt.Sprintf("%s: attempt %d: %s (%s); again in %s", what, n, server.Message, server.Code, wait.Round(time.Millisecond)))
		if err := r.pause(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// delay is between half of the doubled pause and the whole of it, so that several migrators do not march in step.
func (r retry) delay(attempt int) time.Duration {
	whole := longestPause
	if shift := attempt - 1; shift < 10 {
		whole = min(firstPause<<shift, longestPause)
	}
	return whole/2 + time.Duration(r.random()*float64(whole/2))
}

// passing is an error that other sessions cause: a lock not got in time, a deadlock, a serialization failure. Nothing of
// the transaction is left then.
func passing(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	return server.Code == pgerrcode.LockNotAvailable || server.Code == pgerrcode.DeadlockDetected || server.Code == pgerrcode.SerializationFailure
}
