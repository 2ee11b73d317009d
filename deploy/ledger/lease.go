package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// beats is how many heartbeats there are in a TTL.
const beats = 6

// Lease is an environment's lock, held. What a deployment writes goes through it, with its token: once the lock was given to
// somebody else, was broken, or has run out, every write is refused with a *LostError. It is safe for concurrent use.
//
// The holder has the lock for the ledger's TTL after its last heartbeat that was answered, by its own clock that does not
// step; the database gives it away one heartbeat later than that. So an outage shorter than the TTL loses nothing, and who
// could not reach the database for longer stops before anybody else begins.
type Lease struct {
	Environment string
	Holder      Holder
	// Token grows with every lease of the environment. What is done outside of the ledger should refuse a smaller one.
	Token int64

	ledger *Ledger
	ctx    context.Context // of the lease: ends with why it was lost
	lose   context.CancelCauseFunc
	ended  chan struct{} // no heartbeat any more
}

// term is how long the database leaves the lock to a holder without a heartbeat.
func (l *Ledger) term() time.Duration { return l.options.TTL + l.options.TTL/beats }

func (l *Ledger) newLease(environment string, holder Holder, token int64, asked time.Time) *Lease {
	lease := &Lease{Environment: environment, Holder: holder, Token: token, ledger: l, ended: make(chan struct{})}
	lease.ctx, lease.lose = context.WithCancelCause(context.Background())
	go lease.beat(asked)
	return lease
}

// Bind is a context that ends when ctx does, or when the lease is lost; its cause is then a *LostError.
func (l *Lease) Bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// Err is nil while the lease holds, as far as its holder knows; or a *LostError.
func (l *Lease) Err() error { return context.Cause(l.ctx) }

// beat keeps the lease alive from the moment it was asked for.
func (l *Lease) beat(alive time.Time) {
	defer close(l.ended)
	every := l.ledger.options.TTL / beats
	for {
		if pg.Pause(l.ctx, every) != nil {
			return
		}
		left := l.ledger.options.TTL - time.Since(alive)
		if left <= 0 {
			l.lose(l.lost(fmt.Sprintf("the ledger's database could not be reached for %s", time.Since(alive).Round(time.Millisecond))))
			return
		}
		asked := time.Now()
		held, err := l.heartbeat(min(left, max(every, time.Second)))
		switch {
		case err == nil && held:
			alive = asked
		case err == nil:
			l.lose(l.lost("it ran out, was broken, or was given to somebody else"))
			return
		}
	}
}

func (l *Lease) heartbeat(bound time.Duration) (held bool, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, bound)
	defer cancel()
	tag, err := l.ledger.pool.Exec(ctx, `UPDATE pipeline.locks SET heartbeat_at = pg_catalog.clock_timestamp(),
			expires_at = pg_catalog.clock_timestamp() + $3::bigint * interval '1 microsecond'
		WHERE environment = $1 AND token = $2 AND held AND expires_at > pg_catalog.clock_timestamp()`, l.Environment, l.Token, l.ledger.term().Microseconds())
	return tag.RowsAffected() == 1, err
}

func (l *Lease) lost(why string) error {
	return &LostError{Environment: l.Environment, Token: l.Token, Why: why}
}

// Release gives the lock back. A lease that was lost is released already.
func (l *Lease) Release(ctx context.Context) error {
	l.lose(l.lost("it was released"))
	<-l.ended
	return l.ledger.write(ctx, "release lock of "+l.Environment, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE pipeline.locks SET held = false WHERE environment = $1 AND token = $2", l.Environment, l.Token)
		return err
	})
}

// write is the ledger's, in a transaction in which the lease holds until it is committed.
func (l *Lease) write(ctx context.Context, what string, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := l.Bind(ctx)
	defer cancel()
	return l.ledger.write(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		if err := l.holds(ctx, tx); err != nil {
			return err
		}
		return do(ctx, tx)
	})
}

// audited is write, together with a record of the audit log. The end of the log is locked before the lease is looked at, in
// the order in which everybody takes these two.
func (l *Lease) audited(ctx context.Context, what, request string, do func(context.Context, *appendix) error) error {
	ctx, cancel := l.Bind(ctx)
	defer cancel()
	return l.ledger.write(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		a, done, err := lockAudit(ctx, tx, request)
		if err != nil || done {
			return err
		}
		if err := l.holds(ctx, tx); err != nil {
			return err
		}
		return do(ctx, a)
	})
}

// holds checks the token, and keeps everybody from taking the lock until the transaction ends.
func (l *Lease) holds(ctx context.Context, tx pgx.Tx) error {
	var token int64
	var held, expired bool
	var holder Holder
	err := tx.QueryRow(ctx, `SELECT token, held, expires_at <= clock_timestamp(), holder, host, pid, purpose FROM pipeline.locks
		WHERE environment = $1 FOR SHARE`, l.Environment).Scan(&token, &held, &expired, &holder.Name, &holder.Host, &holder.PID, &holder.Purpose)
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && token < l.Token:
		return l.lost("the ledger's database has forgotten it: it was rolled back")
	case err != nil:
		return err
	case token == l.Token && held && !expired:
		return nil
	case token == l.Token && held:
		return l.lost("it ran out before the write")
	case token == l.Token:
		return l.lost("it was released")
	case held:
		return l.lost("it was given to " + holder.String() + fmt.Sprintf(" with token %d", token))
	}
	return l.lost("it was broken, or given away and released since")
}
