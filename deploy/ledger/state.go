package ledger

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
)

var _ deploy.Store = (*Lease)(nil)

// Save replaces what a deployment needs to go on after a kill; when it returns nil, that is committed. With the lock lost,
// or after a lease with a greater token has saved, it is a *LostError.
func (l *Lease) Save(ctx context.Context, deployment string, state []byte) error {
	if state == nil {
		state = []byte{}
	}
	return l.write(ctx, "save state of deployment "+deployment, func(ctx context.Context, tx pgx.Tx) error {
		if err := l.owns(ctx, tx, deployment); err != nil {
			return err
		}
		// The lock's row may have been made anew, with tokens from 1, where somebody cleaned up by hand.
		tag, err := tx.Exec(ctx, `INSERT INTO pipeline.deployment_states AS s (deployment, token, state) VALUES ($1, $2, $3)
			ON CONFLICT (deployment) DO UPDATE SET token = excluded.token, state = excluded.state, saved_at = excluded.saved_at
			WHERE s.token <= excluded.token`, deployment, l.Token, state)
		if err == nil && tag.RowsAffected() == 0 {
			return l.lost("a lease with a greater token has saved the deployment's state")
		}
		return err
	})
}

// Load returns what was saved last, by whichever lease, or nil. With the lock lost it is a *LostError: what it returned might
// be going on elsewhere.
func (l *Lease) Load(ctx context.Context, deployment string) (state []byte, err error) {
	err = l.write(ctx, "load state of deployment "+deployment, func(ctx context.Context, tx pgx.Tx) error {
		if err := l.owns(ctx, tx, deployment); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, "SELECT state FROM pipeline.deployment_states WHERE deployment = $1", deployment).Scan(&state)
		if errors.Is(err, pgx.ErrNoRows) {
			state, err = nil, nil
		}
		return err
	})
	return state, err
}

// owns says whether a deployment is of the lease's environment.
func (l *Lease) owns(ctx context.Context, tx pgx.Tx, deployment string) error {
	var ours bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pipeline.deployments WHERE id = $1 AND environment = $2)", deployment, l.Environment).Scan(&ours)
	if err == nil && !ours {
		return l.unknown(deployment)
	}
	return err
}
