package backfill

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/script"
)

// lagEvery is how often the replicas are looked at.
const lagEvery = time.Second

// run is one Run.
type run struct {
	Options
	conn     *pgx.Conn
	table    table
	declared *script.Backfill
	target   target
	watch    watch
	pace     pace

	progress Progress
	position []byte // nil at a pass's beginning
	passDone int64  // rows changed in this pass

	began     time.Time
	seen      int64 // rows looked at since then
	lagLooked time.Time
}

// begin checks everything and claims the backfill.
func (r *run) begin(ctx context.Context) error {
	err := r.retry(ctx, func() error {
		return r.transaction(ctx, func() (err error) {
			r.target, err = look(ctx, r.conn, r.Script)
			return err
		})
	})
	if err == nil {
		err = r.transaction(ctx, func() error { return r.claim(ctx) })
	}
	if err != nil {
		return err
	}
	r.pace = newPace(r.progress.Batch, r.declared.Batch, r.MaxBlocked)
	r.watch = watch{url: r.URL, pid: r.conn.PgConn().PID(), worker: r.table.worker(strconv.FormatInt(r.Version, 10)), limit: r.MaxBlocked}
	r.began = r.clock.now()
	r.Observe(r.progress)
	return nil
}

// turn waits until a batch may begin, does one, and lets others work. It says whether the backfill is over.
func (r *run) turn(ctx context.Context) (over bool, err error) {
	if err := r.waitForReplicas(ctx); err != nil {
		return false, err
	}
	var did outcome
	if err := r.retry(ctx, func() (err error) {
		did, err = r.batch(ctx)
		return err
	}); err != nil || did.over {
		return did.over, err
	}
	r.progress.Throttled = r.pace.took(did.held, did.blocked)
	r.progress.Batch = r.pace.batch
	r.Observe(r.progress)
	if err := r.clock.pause(ctx, r.pace.pause(r.declared.Pause, did.held, did.blocked)); err != nil {
		return false, fmt.Errorf("%s: %w", r.Script.File, err)
	}
	return false, nil
}

// waitForReplicas waits while one is too far behind. Meanwhile the backfill can be paused.
func (r *run) waitForReplicas(ctx context.Context) error {
	for {
		if now := r.clock.now(); now.Sub(r.lagLooked) < lagEvery {
			return nil
		}
		replica, behind, err := r.clock.lag(ctx, r.conn)
		if err != nil {
			return fmt.Errorf("%s: look at the replicas: %w", r.Script.File, pg.Ended(ctx, err))
		}
		if behind <= r.MaxLag {
			r.lagLooked = r.clock.now()
			return nil
		}
		why := fmt.Sprintf("replica %s is %s behind", replica, behind.Round(time.Millisecond))
		if err := r.tell(ctx, why); err != nil {
			return err
		}
		if err := r.clock.pause(ctx, lagEvery); err != nil {
			return fmt.Errorf("%s: %s: %w", r.Script.File, why, err)
		}
	}
}

// tell says why nothing happens now, also to those who list, and ends the wait where somebody paused.
func (r *run) tell(ctx context.Context, why string) error {
	r.progress.Throttled = why
	var state State
	err := r.table.write(ctx, r.conn, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "UPDATE "+r.table.name()+" SET throttled = $2, updated_at = pg_catalog.clock_timestamp() WHERE version = $1 RETURNING state",
			r.Version, why).Scan(&state)
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: write progress: %w", r.Script.File, pg.Ended(ctx, err))
	case state == Paused:
		return r.paused()
	}
	r.Observe(r.progress)
	return nil
}

// retry repeats what failed for the sake of other sessions, with a batch of half the size each time, until the budget is
// spent.
func (r *run) retry(ctx context.Context, attempt func() error) error {
	start := r.clock.now()
	for n := 1; ; n++ {
		tried := r.clock.now()
		err := attempt()
		if err == nil || ctx.Err() != nil || !r.passing(err, r.clock.now().Sub(tried)) {
			return err
		}
		r.pace.halve()
		wait := again(n, r.clock.random())
		if spent := r.clock.now().Sub(start); spent+wait > r.RetryBudget {
			return fmt.Errorf("%w\n  gave up after %d attempts in %s", err, n, spent.Round(time.Millisecond))
		}
		if !r.began.IsZero() {
			r.progress.Batch = r.pace.batch
			if err := r.tell(ctx, fmt.Sprintf("attempt %d failed: %s; again in %s", n, reason(err), wait.Round(time.Millisecond))); err != nil {
				return err
			}
		}
		if err := r.clock.pause(ctx, wait); err != nil {
			return fmt.Errorf("%s: %w", r.Script.File, err)
		}
	}
}

// passing is an error that other sessions cause, or that a smaller batch may not meet.
func (r *run) passing(err error, took time.Duration) bool {
	switch code(err) {
	case pgerrcode.LockNotAvailable, pgerrcode.DeadlockDetected, pgerrcode.SerializationFailure:
		return true
	case pgerrcode.QueryCanceled: // by our watch, or by statement_timeout; not by an administrator
		return r.watch.canceled || took >= r.StatementTimeout && r.pace.batch > 1
	}
	return false
}

// code is the SQLSTATE of an error of the server.
func code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// reason is an error of the server in a few words.
func reason(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fmt.Sprintf("%s (%s)", server.Message, server.Code)
	}
	return err.Error()
}

// end gives back what the run holds, writes how it ended, and reads what is true now.
func (r *run) end(ctx context.Context, err error) {
	r.watch.close(ctx)
	r.rollBack(ctx)
	if r.conn.IsClosed() {
		r.progress.State = Interrupted
		return
	}
	interrupted := ctx.Err() != nil
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	if err != nil && !interrupted && !errors.Is(err, ErrPaused) {
		_ = r.table.write(ctx, r.conn, func(tx pgx.Tx) error { // unless another run has gone on from there
			_, err := tx.Exec(ctx, "UPDATE "+r.table.name()+` SET state = 'failed', error = $2, updated_at = pg_catalog.clock_timestamp()
				WHERE version = $1 AND state = 'running' AND position IS NOT DISTINCT FROM $3 AND pass = $4`, r.Version, err.Error(), r.position, r.progress.Pass)
			return err
		})
	}
	r.table.leave(ctx, r.conn, r.Version)
	if p, err := r.table.get(ctx, r.conn, r.Version); err == nil {
		r.progress = p
	}
}
