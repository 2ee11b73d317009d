package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Waiter is a request for a lock that is held.
type Waiter struct {
	Holder Holder    `json:"holder"`
	Since  time.Time `json:"since"`
	Seen   time.Time `json:"seen"` // the last time it asked
}

// Status is how an environment is now.
type Status struct {
	Environment string       `json:"environment"`
	Serving     *Deployment  `json:"serving,omitempty"` // the last that ended: its Serves has the traffic, in its Slot; nil where nothing has
	InProgress  []Deployment `json:"in_progress"`       // not ended: they run, or their processes died
	Lock        *Lock        `json:"lock,omitempty"`
	Waiting     []Waiter     `json:"waiting"`
}

// silence is how many polls a waiter may be silent before it is taken for dead.
const silence = 20

// Status reads how an environment is.
func (l *Ledger) Status(ctx context.Context, environment string) (s Status, err error) {
	err = l.read(ctx, "read status of "+environment, func(ctx context.Context, tx pgx.Tx) error {
		s = Status{Environment: environment}
		if s.Serving, err = serving(ctx, tx, environment); err != nil {
			return err
		}
		if s.InProgress, err = deployments(ctx, tx, "d.environment = $1 AND d.outcome = '' ORDER BY d.number", environment); err != nil {
			return err
		}
		lock := Lock{Environment: environment}
		err = tx.QueryRow(ctx, `SELECT token, holder, host, pid, purpose, acquired_at, heartbeat_at, expires_at, expires_at <= clock_timestamp()
			FROM pipeline.locks WHERE environment = $1 AND held`, environment).
			Scan(&lock.Token, &lock.Holder.Name, &lock.Holder.Host, &lock.Holder.PID, &lock.Holder.Purpose, &lock.Acquired, &lock.Heartbeat, &lock.Expires, &lock.Expired)
		if err == nil {
			s.Lock = &lock
		} else if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT holder, host, pid, purpose, requested_at, seen_at FROM pipeline.lock_requests
			WHERE environment = $1 AND ended_at IS NULL AND seen_at > clock_timestamp() - $2::bigint * interval '1 microsecond' ORDER BY id`,
			environment, (silence * max(l.options.Poll, DefaultPoll)).Microseconds())
		if err != nil {
			return err
		}
		var w Waiter
		_, err = pgx.ForEachRow(rows, []any{&w.Holder.Name, &w.Holder.Host, &w.Holder.PID, &w.Holder.Purpose, &w.Since, &w.Seen}, func() error {
			s.Waiting = append(s.Waiting, w)
			return nil
		})
		return err
	})
	return s, err
}

// serving is the last deployment that ended, if anything serves since.
func serving(ctx context.Context, tx pgx.Tx, environment string) (*Deployment, error) {
	list, err := deployments(ctx, tx, "d.environment = $1 AND d.outcome <> '' ORDER BY d.number DESC LIMIT 1", environment)
	if err != nil || len(list) == 0 || list[0].Serves == "" {
		return nil, err
	}
	return &list[0], nil
}

// Filter chooses deployments. Its zero value is the newest fifty of all environments.
type Filter struct {
	Environment string
	Before      int64 // a deployment's number: only those that began before it
	Limit       int
}

// DefaultLimit of a Filter.
const DefaultLimit = 50

// History lists deployments, the newest first.
func (l *Ledger) History(ctx context.Context, f Filter) (list []Deployment, err error) {
	if f.Limit <= 0 {
		f.Limit = DefaultLimit
	}
	err = l.read(ctx, "read history", func(ctx context.Context, tx pgx.Tx) error {
		list, err = deployments(ctx, tx, "($1 = '' OR d.environment = $1) AND ($2::bigint = 0 OR d.number < $2::bigint) ORDER BY d.number DESC LIMIT $3", f.Environment, f.Before, f.Limit)
		return err
	})
	return list, err
}

func deployments(ctx context.Context, tx pgx.Tx, where string, args ...any) ([]Deployment, error) {
	rows, err := tx.Query(ctx, "SELECT "+deploymentColumns+" FROM pipeline.deployments d WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Deployment])
}

// Good is a release to go back to.
type Good struct {
	Release    Release    `json:"release"`
	Deployment Deployment `json:"deployment"` // that brought it
	Leaves     string     `json:"leaves"`     // the release that serves now
	Verdict    *Verdict   `json:"verdict,omitempty"`
}

// ErrNothingGood means that there is no release to go back to.
var ErrNothingGood = errors.New("no other release has served here and was not rolled back from")

// LastGood is the release that a rollback without arguments goes to: the last that served before the one that serves now. It
// is none that failed since, was rolled back by itself, or was rolled back from; such a one is good again when it was
// deployed again and stayed. It is an error when there is none: ErrNothingGood.
func (l *Ledger) LastGood(ctx context.Context, environment string) (good Good, err error) {
	err = l.read(ctx, "find the last good release of "+environment, func(ctx context.Context, tx pgx.Tx) error {
		good = Good{}
		now, err := serving(ctx, tx, environment)
		if err != nil {
			return err
		}
		if now == nil {
			return refused{ErrNothingGood}
		}
		good.Leaves = now.Serves
		// A deployment says nothing good of what it left as a rollback and got away from, whether it succeeded or had to stay.
		list, err := deployments(ctx, tx, `d.environment = $1 AND d.outcome = 'succeeded' AND d.serves <> $2
			AND EXISTS (SELECT FROM pipeline.releases r WHERE r.version = d.serves)
			AND NOT EXISTS (SELECT FROM pipeline.deployments b WHERE b.environment = $1 AND b.number > d.number AND (
				b.release = d.serves AND b.outcome IN ('rolled back', 'failed')
				OR b.from_release = d.serves AND b.kind = 'rollback' AND b.serves = b.release))
			ORDER BY d.number DESC LIMIT 1`, environment, good.Leaves)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return refused{ErrNothingGood}
		}
		good.Deployment = list[0]
		if err := tx.QueryRow(ctx, "SELECT "+releaseColumns+" FROM pipeline.releases WHERE version = $1", good.Deployment.Serves).Scan(good.Release.fields()...); err != nil {
			return err
		}
		good.Verdict, err = verdictOn(ctx, tx, environment, good.Leaves, good.Release.Version)
		return err
	})
	return good, err
}
