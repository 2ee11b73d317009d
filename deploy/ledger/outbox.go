package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
)

// The pauses between deliveries of one message that fail double, between these.
const (
	firstDelay   = 5 * time.Second
	longestDelay = time.Hour
	// claim is for how long a message is left to who delivers it. A delivery takes two requests at most.
	claim = 2 * requestTimeout
)

// message is a transition to be told to GitHub.
type message struct {
	id         int64
	attempts   int
	deployment Deployment
	commit     string
	state      deploy.State
	detail     string
	github     int64 // GitHub's id of the deployment, 0 before it has one
}

// enqueue puts a transition into the outbox, in the transaction that writes it.
func enqueue(ctx context.Context, tx pgx.Tx, t Transition) error {
	_, err := tx.Exec(ctx, "INSERT INTO pipeline.github_outbox (deployment, state, detail) VALUES ($1, $2, $3)", t.Deployment, string(t.State), t.Detail)
	return err
}

// next claims a message that is due: of each deployment the oldest, so that they arrive in order.
func (l *Ledger) next(ctx context.Context) (m message, found bool, err error) {
	err = l.write(ctx, "look into outbox", func(ctx context.Context, tx pgx.Tx) error {
		found = false
		m = message{}
		d := &m.deployment
		var state, kind string
		err := tx.QueryRow(ctx, `WITH due AS (
				SELECT o.id FROM pipeline.github_outbox o
				WHERE o.delivered_at IS NULL AND o.refused_at IS NULL AND o.due_at <= clock_timestamp()
					AND NOT EXISTS (SELECT FROM pipeline.github_outbox e WHERE e.deployment = o.deployment AND e.id < o.id AND e.delivered_at IS NULL AND e.refused_at IS NULL)
				ORDER BY o.id LIMIT 1 FOR UPDATE SKIP LOCKED)
			UPDATE pipeline.github_outbox o SET attempts = o.attempts + 1, due_at = clock_timestamp() + $1::bigint * interval '1 microsecond'
			FROM due, pipeline.deployments d JOIN pipeline.releases r ON r.version = d.release LEFT JOIN pipeline.github_deployments g ON g.deployment = d.id
			WHERE o.id = due.id AND d.id = o.deployment
			RETURNING o.id, o.attempts, o.state, o.detail, d.id, d.environment, d.release, d.kind, r.git_commit, coalesce(g.github_id, 0)`, claim.Microseconds()).
			Scan(&m.id, &m.attempts, &state, &m.detail, &d.ID, &d.Environment, &d.Release, &kind, &m.commit, &m.github)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		m.state, d.Kind, found = deploy.State(state), Kind(kind), err == nil
		return err
	})
	return m, found, err
}

func (l *Ledger) delivered(ctx context.Context, m message) error {
	return l.mark(ctx, m, "delivered_at = clock_timestamp(), error = ''")
}

// refusedBy keeps a message from being sent again: what is wrong with it stays wrong.
func (l *Ledger) refusedBy(ctx context.Context, m message, why string) error {
	return l.mark(ctx, m, "refused_at = clock_timestamp(), error = $2", why)
}

func (l *Ledger) failed(ctx context.Context, m message, why string, after time.Duration) error {
	return l.mark(ctx, m, "due_at = clock_timestamp() + $3::bigint * interval '1 microsecond', error = $2", why, after.Microseconds())
}

func (l *Ledger) mark(ctx context.Context, m message, set string, args ...any) error {
	return l.write(ctx, "write outbox", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE pipeline.github_outbox SET "+set+" WHERE id = $1", append([]any{m.id}, args...)...)
		return err
	})
}

// keep remembers GitHub's id of a deployment.
func (l *Ledger) keep(ctx context.Context, deployment string, github int64) error {
	return l.write(ctx, "write GitHub's id", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO pipeline.github_deployments (deployment, github_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", deployment, github)
		return err
	})
}

// delay before a message is sent again after so many attempts.
func delay(attempts int) time.Duration {
	if attempts > 10 {
		return longestDelay
	}
	return min(firstDelay<<max(attempts-1, 0), longestDelay)
}

// Backlog is what GitHub was not told.
type Backlog struct {
	Waiting int        `json:"waiting"`          // will be tried again
	Refused int        `json:"refused"`          // will not: GitHub found the request wrong
	Oldest  *time.Time `json:"oldest,omitempty"` // of those that wait, when it is tried next
	Error   string     `json:"error,omitempty"`  // of the last that failed
}

func (b Backlog) String() string {
	if b.Waiting == 0 && b.Refused == 0 {
		return "GitHub knows everything"
	}
	return fmt.Sprintf("%d messages to GitHub wait, %d were refused: %s", b.Waiting, b.Refused, b.Error)
}

// Backlog counts what GitHub was not told.
func (l *Ledger) Backlog(ctx context.Context) (b Backlog, err error) {
	err = l.read(ctx, "count outbox", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE refused_at IS NULL), count(*) FILTER (WHERE refused_at IS NOT NULL),
				min(due_at) FILTER (WHERE refused_at IS NULL), coalesce((array_agg(error ORDER BY id DESC) FILTER (WHERE error <> ''))[1], '')
			FROM pipeline.github_outbox WHERE delivered_at IS NULL`).Scan(&b.Waiting, &b.Refused, &b.Oldest, &b.Error)
	})
	return b, err
}
