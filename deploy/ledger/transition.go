package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
)

// Transition is a state that a deployment entered.
type Transition struct {
	Deployment string       `json:"deployment"`
	Seq        int64        `json:"seq"` // from 1, without gaps
	At         time.Time    `json:"at"`  // by the clock of the deployment's process
	State      deploy.State `json:"state"`
	Slot       deploy.Slot  `json:"slot,omitempty"`
	Release    string       `json:"release"`
	Detail     string       `json:"detail,omitempty"`
	Token      int64        `json:"token"` // of the lease that wrote it
	Audit      int64        `json:"audit"` // its record in the audit log
}

const transitionColumns = "t.deployment, t.seq, t.entered_at, t.state, t.slot, t.release, t.detail, t.token, t.audit"

func (t *Transition) fields() []any {
	return []any{&t.Deployment, &t.Seq, &t.At, &t.State, &t.Slot, &t.Release, &t.Detail, &t.Token, &t.Audit}
}

func (t Transition) record(environment, by string) Record {
	return Record{Kind: TransitionRecord, Environment: environment, Deployment: t.Deployment, Actor: by, Facts: map[string]string{
		"seq": fmt.Sprint(t.Seq), "entered": stamp(t.At), "state": string(t.State), "slot": string(t.Slot), "release": t.Release, "detail": t.Detail,
		"token": fmt.Sprint(t.Token)}}
}

var _ deploy.Journal = (*Lease)(nil)

// Write writes a transition before it is done: when it returns nil, it is committed, once. While the database is away it is
// tried again for the ledger's patience, then fails with ErrUnreachable; what the deployment was about to do must not be done
// then. With the lock lost it is a *LostError.
func (l *Lease) Write(ctx context.Context, entry deploy.Entry) error {
	request := newRequest()
	t := Transition{Deployment: entry.Deployment, At: entry.At.UTC().Truncate(time.Microsecond), State: entry.State, Slot: entry.Slot,
		Release: clean(entry.Release), Detail: clean(entry.Detail), Token: l.Token}
	outcome := outcomes[t.State]
	return l.audited(ctx, fmt.Sprintf("write transition to %q", t.State), request, func(ctx context.Context, a *appendix) error {
		var by string
		// One that is done, but with all traffic on another release than its own, went back before it was.
		err := a.tx.QueryRow(ctx, `UPDATE pipeline.deployments SET transitions = transitions + 1, state = $3, slot = $4,
				outcome = CASE WHEN $5::text = 'succeeded' AND release <> $6::text THEN 'rolled back' ELSE $5::text END,
				serves = CASE WHEN $5::text = '' THEN '' ELSE $6::text END,
				reason = CASE WHEN $5::text = '' THEN '' ELSE $7 END, ended_at = CASE WHEN $5::text = '' THEN NULL ELSE $8::timestamptz END
			WHERE id = $1 AND environment = $2 RETURNING transitions, requested_by`, t.Deployment, l.Environment, string(t.State), string(t.Slot),
			string(outcome), t.Release, t.Detail, a.now).Scan(&t.Seq, &by)
		if errors.Is(err, pgx.ErrNoRows) {
			return l.unknown(t.Deployment)
		}
		if err != nil {
			return err
		}
		if t.Audit, err = a.add(ctx, request, t.record(l.Environment, by)); err != nil {
			return err
		}
		_, err = a.tx.Exec(ctx, `INSERT INTO pipeline.transitions (deployment, seq, entered_at, state, slot, release, detail, token, audit)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			t.Deployment, t.Seq, t.At, string(t.State), string(t.Slot), t.Release, t.Detail, t.Token, t.Audit)
		if err == nil && l.ledger.options.Mirror {
			err = enqueue(ctx, a.tx, t)
		}
		return err
	})
}

// Transitions are those of a deployment, in order.
func (l *Ledger) Transitions(ctx context.Context, deployment string) (list []Transition, err error) {
	err = l.read(ctx, "read transitions", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT "+transitionColumns+" FROM pipeline.transitions t WHERE t.deployment = $1 ORDER BY t.seq", deployment)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Transition])
		return err
	})
	return list, err
}
