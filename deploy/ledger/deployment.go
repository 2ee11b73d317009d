package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
)

// Kind is why a deployment was made.
type Kind string

// The kinds. Rollbacks and hotfixes are what the deployment rework rate counts.
const (
	Deploy   Kind = "deploy"
	RollBack Kind = "rollback"
	Hotfix   Kind = "hotfix"
)

// Outcome is how a deployment ended.
type Outcome string

// The outcomes. A deployment that has none has not ended: it runs, or its process died.
const (
	Succeeded  Outcome = "succeeded"
	RolledBack Outcome = "rolled back"
	Failed     Outcome = "failed" // before there was anything to roll back, or with what can't be gone back from
)

var outcomes = map[deploy.State]Outcome{deploy.Done: Succeeded, deploy.RolledBack: RolledBack, deploy.Failed: Failed}

// Deployment is one release's way into an environment.
type Deployment struct {
	Number      int64  `json:"number"` // in the order in which they began
	ID          string `json:"id"`
	Environment string `json:"environment"`
	Release     string `json:"release"`
	From        string `json:"from,omitempty"` // the release that served before
	Strategy    string `json:"strategy"`
	Plan        string `json:"plan"` // its hash
	Kind        Kind   `json:"kind"`
	By          string `json:"by"`

	Token       int64        `json:"token"`
	State       deploy.State `json:"state,omitempty"`
	Slot        deploy.Slot  `json:"slot,omitempty"`
	Serves      string       `json:"serves,omitempty"` // the release that has all traffic since its end, in Slot; nothing before its end
	Transitions int64        `json:"transitions"`
	Started     time.Time    `json:"started"`
	Ended       *time.Time   `json:"ended,omitempty"`
	Outcome     Outcome      `json:"outcome,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	FirstBad    *time.Time   `json:"first_bad,omitempty"` // the first bad request
	Detected    *time.Time   `json:"detected,omitempty"`  // that there are bad requests
}

const deploymentColumns = `d.number, d.id, d.environment, d.release, d.from_release, d.strategy, d.plan_hash, d.kind, d.requested_by, d.token, d.state, d.slot,
	d.serves, d.transitions, d.started_at, d.ended_at, d.outcome, d.reason, d.first_bad_at, d.detected_at`

// Begin writes that a deployment begins; its release was recorded before. Of the deployment the fields up to By are read; its
// environment is the lease's. An ID is used once.
func (l *Lease) Begin(ctx context.Context, d Deployment) error {
	request := newRequest()
	return l.audited(ctx, "begin deployment "+d.ID, request, func(ctx context.Context, a *appendix) error {
		var known bool
		if err := a.tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pipeline.releases WHERE version = $1)", d.Release).Scan(&known); err != nil {
			return err
		}
		if !known {
			return deny("the ledger knows no release %q: record it first", d.Release)
		}
		tag, err := a.tx.Exec(ctx, `INSERT INTO pipeline.deployments (id, environment, release, from_release, strategy, plan_hash, kind, requested_by, token)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			d.ID, l.Environment, d.Release, d.From, clean(d.Strategy), clean(d.Plan), string(d.Kind), clean(d.By), l.Token)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return deny("there is one with this id")
		}
		_, err = a.add(ctx, request, Record{Kind: DeploymentRecord, Environment: l.Environment, Deployment: d.ID, Actor: clean(d.By), Facts: map[string]string{
			"release": d.Release, "from": d.From, "strategy": clean(d.Strategy), "plan": clean(d.Plan), "kind": string(d.Kind), "token": fmt.Sprint(l.Token)}})
		return err
	})
}

// Bad writes when the first bad request was answered, and when that was noticed. The earliest of several stay: time to restore
// counts from the one, time to detect to the other.
func (l *Lease) Bad(ctx context.Context, deployment string, first, detected time.Time) error {
	return l.write(ctx, "write bad requests", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE pipeline.deployments SET first_bad_at = least(first_bad_at, $3), detected_at = least(detected_at, $4)
			WHERE id = $1 AND environment = $2`, deployment, l.Environment, first, detected)
		if err == nil && tag.RowsAffected() == 0 {
			return l.unknown(deployment)
		}
		return err
	})
}

// Measurement is a number that was seen of a slot.
type Measurement struct {
	Slot  deploy.Slot `json:"slot,omitempty"`
	Name  string      `json:"name"` // with its unit: requests, errors, latency_p95_ms
	At    time.Time   `json:"at"`
	Value float64     `json:"value"`
}

// Measure writes measurements. One of the same slot, name and time is written once.
func (l *Lease) Measure(ctx context.Context, deployment string, measured ...Measurement) error {
	slots, names, values := make([]string, len(measured)), make([]string, len(measured)), make([]float64, len(measured))
	times := make([]time.Time, len(measured))
	for i, m := range measured {
		slots[i], names[i], times[i], values[i] = string(m.Slot), clean(m.Name), m.At, m.Value
	}
	return l.write(ctx, "write measurements", func(ctx context.Context, tx pgx.Tx) error {
		if err := l.owns(ctx, tx, deployment); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO pipeline.measurements (deployment, slot, name, measured_at, value)
			SELECT $1, * FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::float8[]) ON CONFLICT DO NOTHING`, deployment, slots, names, times, values)
		return err
	})
}

// Measurements are those of a deployment, in the order of time.
func (l *Ledger) Measurements(ctx context.Context, deployment string) (list []Measurement, err error) {
	err = l.read(ctx, "read measurements", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT slot, name, measured_at, value FROM pipeline.measurements WHERE deployment = $1 ORDER BY measured_at, slot, name", deployment)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Measurement])
		return err
	})
	return list, err
}

// ErrUnknownDeployment means that the environment of the lease has no such deployment.
var ErrUnknownDeployment = errors.New("no such deployment")

func (l *Lease) unknown(deployment string) error {
	return deny("%w: %s in %s", ErrUnknownDeployment, deployment, l.Environment)
}
