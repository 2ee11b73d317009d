package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Plan is what is asked to be approved. Its hash is of everything that will be done, so that another plan needs another
// approval.
type Plan struct {
	Hash        string
	Environment string
	Release     string
	By          string // who asks
}

// Approval is one person's consent to a plan.
type Approval struct {
	Plan     string    `json:"plan"`
	Approver string    `json:"approver"`
	At       time.Time `json:"at"`
	Expires  time.Time `json:"expires"`
}

func (a Approval) record() Record {
	return Record{Kind: ApprovalRecord, Actor: a.Approver, Facts: map[string]string{"plan": a.Plan, "approved": stamp(a.At), "expires": stamp(a.Expires)}}
}

var (
	// ErrOwnPlan means that who asks for a plan cannot approve it.
	ErrOwnPlan = errors.New("whoever asked for a plan cannot approve it: somebody else must")
	// ErrUnknownPlan means that nobody has asked for a plan with this hash.
	ErrUnknownPlan = errors.New("nobody has asked for this plan (it may have changed since, and has another hash then)")
)

// Request writes that somebody asks for a plan. Several may ask for the same one; none of them can approve it.
func (l *Ledger) Request(ctx context.Context, p Plan) error {
	request := newRequest()
	return l.write(ctx, "request plan", func(ctx context.Context, tx pgx.Tx) error {
		a, done, err := lockAudit(ctx, tx, request)
		if err != nil || done {
			return err
		}
		tag, err := tx.Exec(ctx, "INSERT INTO pipeline.plans (hash, requested_by, environment, release) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
			p.Hash, clean(p.By), p.Environment, p.Release)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = a.add(ctx, request, Record{Kind: PlanRecord, Environment: p.Environment, Actor: clean(p.By), Facts: map[string]string{"plan": p.Hash, "release": p.Release}})
		return err
	})
}

// Approve writes that somebody approves a plan, for so long. Errors: ErrOwnPlan, ErrUnknownPlan. Names are compared without
// regard to case; that a name is who it says is the caller's to know.
func (l *Ledger) Approve(ctx context.Context, plan, approver string, lasts time.Duration) error {
	request := newRequest()
	approver = strings.TrimSpace(clean(approver))
	if approver == "" || lasts <= 0 {
		return fmt.Errorf("approve plan: it needs the name of the approver, and how long the approval lasts")
	}
	return l.write(ctx, "approve plan", func(ctx context.Context, tx pgx.Tx) error {
		a, done, err := lockAudit(ctx, tx, request)
		if err != nil || done {
			return err
		}
		var asked, own bool
		err = tx.QueryRow(ctx, "SELECT count(*) > 0, coalesce(bool_or(lower(btrim(requested_by)) = lower($2)), false) FROM pipeline.plans WHERE hash = $1", plan, approver).Scan(&asked, &own)
		switch {
		case err != nil:
			return err
		case !asked:
			return refused{ErrUnknownPlan}
		case own:
			return refused{ErrOwnPlan}
		}
		approval := Approval{Plan: plan, Approver: approver, At: a.now, Expires: a.now.Add(lasts).Truncate(time.Microsecond)}
		index, err := a.add(ctx, request, approval.record())
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO pipeline.approvals (plan_hash, approver, approved_at, expires_at, audit) VALUES ($1, $2, $3, $4, $5)",
			plan, approver, approval.At, approval.Expires, index)
		return err
	})
}

// Approvals are those of a plan that count now: not expired by the database's clock, of nobody who asked for it, and one of
// each approver, the one that lasts longest.
func (l *Ledger) Approvals(ctx context.Context, plan string) (list []Approval, err error) {
	err = l.read(ctx, "read approvals", func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT DISTINCT ON (lower(approver)) plan_hash, approver, approved_at, expires_at FROM pipeline.approvals a
			WHERE plan_hash = $1 AND expires_at > clock_timestamp()
				AND NOT EXISTS (SELECT FROM pipeline.plans p WHERE p.hash = a.plan_hash AND lower(btrim(p.requested_by)) = lower(a.approver))
			ORDER BY lower(approver), expires_at DESC`, plan)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Approval])
		return err
	})
	return list, err
}
