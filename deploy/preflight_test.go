package deploy

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPreflightSaysAllThatIsWrongAtOnce(t *testing.T) {
	s := opened(t, BlueGreen)
	s.fails["allow v2"] = errors.New("v2 is older than the schema")
	s.hosts[0].slots[Green] = &process{version: "v0"}
	plan := somePlan(t)
	plan.Steps, plan.Override = s.command("x").Steps(s.release("v2")), nil
	plan.Steps[0].Slot, plan.Steps[4].Slot = Green, Green
	plan.Secrets["API_KEY"] = "7d"
	p := &Preflight{
		Missing: func(context.Context, *Plan) ([]string, error) { return []string{"SMTP_HOST", "SENTRY_DSN"}, nil },
		Resolve: func(_ context.Context, name string) error {
			return map[string]error{"API_KEY": errors.New("no such secret")}[name]
		},
		Database: s, Target: s.hosts[0],
		Free:     func(context.Context) (uint64, error) { return 1_000_000, nil },
		Approved: func(context.Context, string) ([]string, error) { return []string{"ada", "ada", "mallory"}, nil },
		Now:      func() time.Time { return time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC) },
	}
	assert.Equal(t, []string{"freeze", "contract migrations", "configuration", "secrets", "schema", "disk", "slot", "approvals"}, p.Names())
	err := p.Check(t.Context(), plan)
	var problems *PreflightError
	require.ErrorAs(t, err, &problems)
	assert.Equal(t, `preflight: 9 problems:
  freeze: nothing is deployed until Mon 9 Mar 08:00 UTC (fri 16:00 to mon 08:00 UTC); wait, or override it with a reason, which is recorded
  contract migrations: migration 3 drop_old takes away what v1 needs: column a.b; deploy a release that doesn't need it first, and the migration with the one after
  configuration: SMTP_HOST is missing; set it for production
  configuration: SENTRY_DSN is missing; set it for production
  secrets: API_KEY can't be resolved: no such secret; store it, or let this machine read it
  schema: v2 is older than the schema; deploy a newer release
  disk: 1.0 MB are free, the release needs 2.5 MB; make room
  slot: green, where the release is to start, runs v0; a deployment has not ended: resume it, or take it back
  approvals: 1 of 2 approvals are missing; have plan `+plan.Hash()+` approved`, err.Error())
}

func TestAPreflightPasses(t *testing.T) {
	s := opened(t, BlueGreen)
	plan := somePlan(t)
	plan.Steps = s.now(t.Context(), t, "d1").Steps(s.release("v2"))
	plan.Migrations[0].NeededBy = []string{"v0"}
	var asked string
	p := &Preflight{
		Missing: func(context.Context, *Plan) ([]string, error) { return nil, nil },
		Resolve: func(context.Context, string) error { return nil }, Database: s, Target: s.hosts[0],
		Free: func(context.Context) (uint64, error) { return 2_500_000, nil },
		Approved: func(_ context.Context, hash string) ([]string, error) {
			asked = hash
			return []string{"ben", "ada"}, nil
		},
		Now: func() time.Time { return time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC) }, // frozen, but overridden
	}
	require.NoError(t, p.Check(t.Context(), plan))
	assert.Equal(t, plan.Hash(), asked)
	plan.Override.Reason = " "
	assert.ErrorContains(t, p.Check(t.Context(), plan), "freeze: it is overridden without a name or a reason")
}

func TestACheckThatCannotBeMadeIsAProblem(t *testing.T) {
	p := &Preflight{
		Missing: func(context.Context, *Plan) ([]string, error) { return nil, errors.New("the target is away") },
		Free:    func(context.Context) (uint64, error) { return 0, errors.New("no such disk") },
	}
	err := p.Check(t.Context(), &Plan{Environment: "production"})
	assert.EqualError(t, err, "preflight: 2 problems:\n"+
		"  configuration: the target is away; it could not be checked: make it answer, and try again\n"+
		"  disk: no such disk; it could not be checked: make it answer, and try again")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, p.Check(canceled, &Plan{}), context.Canceled)
}
