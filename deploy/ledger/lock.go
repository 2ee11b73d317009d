package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pg"
)

// Holder is who holds an environment's lock, or waits for it.
type Holder struct {
	Name    string `json:"name"` // a person or a CI job
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Purpose string `json:"purpose"` // "deploy v1.4.0": for people
}

func (h Holder) String() string {
	return fmt.Sprintf("%s (%s, pid %d on %s)", h.Name, h.Purpose, h.PID, h.Host)
}

// Lock is an environment's lock as it is held.
type Lock struct {
	Environment string    `json:"environment"`
	Token       int64     `json:"token"`
	Holder      Holder    `json:"holder"`
	Acquired    time.Time `json:"acquired"`
	Heartbeat   time.Time `json:"heartbeat"` // the last sign of life
	Expires     time.Time `json:"expires"`
	Expired     bool      `json:"expired"` // by the database's clock: the next who asks gets it
}

// BusyError means that the lock is held and was waited for long enough.
type BusyError struct {
	Lock   Lock
	Waited time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s is locked by %s since %s; waited %s: wait for it, or break the lock if it is known to be dead",
		e.Lock.Environment, e.Lock.Holder, e.Lock.Acquired.UTC().Format("2006-01-02 15:04:05 UTC"), e.Waited.Round(time.Millisecond))
}

// SupersededError means that somebody asked for the lock after this request and while it was waiting, so it is not needed any more.
type SupersededError struct {
	Environment string
	Newer       Holder
}

func (e *SupersededError) Error() string {
	return fmt.Sprintf("while waiting for the lock of %s: superseded by the newer request of %s", e.Environment, e.Newer)
}
func (*SupersededError) refused() {}

// ErrLost means that the lock is not held any more by the lease that was to be used. What it was about to do must not be done.
var ErrLost = errors.New("the lock is not held any more")

var _ deploy.LostError = (*LostError)(nil)

// LostError is ErrLost, with why. Nothing was written.
type LostError struct {
	Environment string
	Token       int64
	Why         string
}

func (e *LostError) Error() string {
	return fmt.Sprintf("lock of %s, token %d: %v: %s", e.Environment, e.Token, ErrLost, e.Why)
}

// Unwrap makes it ErrLost.
func (e *LostError) Unwrap() error { return ErrLost }
func (*LostError) refused()        {}

// LockLost makes it a deploy.LostError: a deployment stops at it, and cleans up nothing.
func (*LostError) LockLost() bool { return true }

// Acquire takes the lock of an environment for a holder, or waits for it for at most so long. Of several who wait only the
// newest stays: the others end with *SupersededError. When time is over it is a *BusyError.
//
// The lease lives on heartbeats of its own until it is released. It ends by itself when the ledger's database has not been
// reached for the ledger's TTL, or when the lock was broken.
func (l *Ledger) Acquire(ctx context.Context, environment string, holder Holder, wait time.Duration) (*Lease, error) {
	request := newRequest()
	holder = Holder{clean(holder.Name), clean(holder.Host), holder.PID, clean(holder.Purpose)}
	start := time.Now()
	for {
		asked := time.Now() // before the database counts, so that we never hold it for longer than it thinks
		token, busy, err := l.ask(ctx, environment, request, holder)
		if err == nil && token > 0 {
			return l.newLease(environment, holder, token, asked), nil
		}
		waited := time.Since(start)
		if err == nil && waited >= wait {
			err = &BusyError{Lock: busy, Waited: waited}
		}
		if err == nil {
			err = pg.Pause(ctx, min(l.options.Poll, wait-waited))
		}
		if err != nil {
			l.withdraw(ctx, request)
			return nil, fmt.Errorf("lock %s: %w", environment, err)
		}
	}
}

// ask takes the lock if it is free, or queues. The token is 0 while it is not.
func (l *Ledger) ask(ctx context.Context, environment, request string, holder Holder) (token int64, busy Lock, err error) {
	err = l.write(ctx, "ask for it", func(ctx context.Context, tx pgx.Tx) error {
		token = 0
		if _, err := tx.Exec(ctx, "INSERT INTO pipeline.locks (environment) VALUES ($1) ON CONFLICT DO NOTHING", environment); err != nil {
			return err
		}
		busy = Lock{Environment: environment}
		var held bool
		var last string
		err := tx.QueryRow(ctx, `SELECT token, request, held, holder, host, pid, purpose, coalesce(acquired_at, 'epoch'), coalesce(heartbeat_at, 'epoch'),
				coalesce(expires_at, 'epoch'), coalesce(expires_at <= clock_timestamp(), true)
			FROM pipeline.locks WHERE environment = $1 FOR UPDATE`, environment).
			Scan(&busy.Token, &last, &held, &busy.Holder.Name, &busy.Holder.Host, &busy.Holder.PID, &busy.Holder.Purpose, &busy.Acquired,
				&busy.Heartbeat, &busy.Expires, &busy.Expired)
		if err != nil {
			return err
		}
		if held && last == request { // taken before; the answer got lost
			token = busy.Token
			return nil
		}
		if err := queue(ctx, tx, environment, request, holder); err != nil {
			return err
		}
		if held && !busy.Expired {
			return nil
		}
		if _, err := tx.Exec(ctx, "UPDATE pipeline.lock_requests SET ended_at = clock_timestamp() WHERE request = $1", request); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `UPDATE pipeline.locks SET token = token + 1, request = $2, held = true, holder = $3, host = $4, pid = $5, purpose = $6,
				acquired_at = clock_timestamp(), heartbeat_at = clock_timestamp(), expires_at = clock_timestamp() + $7::bigint * interval '1 microsecond'
			WHERE environment = $1 RETURNING token`, environment, request, holder.Name, holder.Host, holder.PID, holder.Purpose,
			l.term().Microseconds()).Scan(&token)
	})
	return token, busy, err
}

// queue enters the request, in place of those that waited before, or learns that a newer one has taken its place. The caller
// holds the lock's row.
func queue(ctx context.Context, tx pgx.Tx, environment, request string, holder Holder) error {
	var newer Holder
	var superseded bool
	err := tx.QueryRow(ctx, `UPDATE pipeline.lock_requests w SET seen_at = clock_timestamp() WHERE w.request = $1
		RETURNING w.superseded_by IS NOT NULL`, request).Scan(&superseded)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		_, err = tx.Exec(ctx, `WITH mine AS (
				INSERT INTO pipeline.lock_requests (environment, request, holder, host, pid, purpose) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id)
			UPDATE pipeline.lock_requests w SET ended_at = clock_timestamp(), superseded_by = mine.id FROM mine
			WHERE w.environment = $1 AND w.ended_at IS NULL`, environment, request, holder.Name, holder.Host, holder.PID, holder.Purpose)
		return err
	case err != nil || !superseded:
		return err
	}
	err = tx.QueryRow(ctx, `SELECT n.holder, n.host, n.pid, n.purpose FROM pipeline.lock_requests w JOIN pipeline.lock_requests n ON n.id = w.superseded_by
		WHERE w.request = $1`, request).Scan(&newer.Name, &newer.Host, &newer.PID, &newer.Purpose)
	if err != nil {
		return err
	}
	return &SupersededError{Environment: environment, Newer: newer}
}

// withdraw ends a request, and a lock that it got without hearing of it. Where the database can't be reached, both run out.
func (l *Ledger) withdraw(ctx context.Context, request string) {
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	_, _ = l.pool.Exec(ctx, "UPDATE pipeline.lock_requests SET ended_at = pg_catalog.clock_timestamp() WHERE request = $1 AND ended_at IS NULL", request)
	_, _ = l.pool.Exec(ctx, "UPDATE pipeline.locks SET held = false WHERE request = $1 AND held", request)
}

// Break takes the lock from its holder, whose writes are refused from then on, and writes down who did that and why. It is the
// lock with that token that is broken, as Status shows it: when somebody else has got it meanwhile, nothing happens.
func (l *Ledger) Break(ctx context.Context, environment string, token int64, by, reason string) error {
	if clean(by) == "" || clean(reason) == "" {
		return errors.New("break lock: say who breaks it, and why: both go into the audit log")
	}
	request := newRequest()
	return l.write(ctx, "break lock of "+environment, func(ctx context.Context, tx pgx.Tx) error {
		a, done, err := lockAudit(ctx, tx, request)
		if err != nil || done {
			return err
		}
		var holder Holder
		err = tx.QueryRow(ctx, `UPDATE pipeline.locks SET held = false, token = token + 1, request = '' WHERE environment = $1 AND token = $2 AND held
			RETURNING holder, host, pid, purpose`, environment, token).Scan(&holder.Name, &holder.Host, &holder.PID, &holder.Purpose)
		if errors.Is(err, pgx.ErrNoRows) {
			return deny("nobody holds it with token %d any more: look at who does before you break it", token)
		}
		if err != nil {
			return err
		}
		_, err = a.add(ctx, request, Record{Kind: LockBrokenRecord, Environment: environment, Actor: clean(by), Facts: map[string]string{
			"holder": holder.String(), "reason": clean(reason), "token": fmt.Sprint(token)}})
		return err
	})
}
