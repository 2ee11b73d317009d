package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Preflight is what is looked at before a deployment. What is nil is not looked at; Names says what is.
type Preflight struct {
	// Missing returns what the target needs and the configuration lacks.
	Missing func(ctx context.Context, plan *Plan) ([]string, error)
	// Resolve resolves a secret and forgets its value. Its error doesn't tell it.
	Resolve func(ctx context.Context, secret string) error
	// Database says whether the release works on the schema as it is.
	Database Database
	// Free is how many bytes the disk of the target has left.
	Free func(ctx context.Context) (uint64, error)
	// Target says whether the slot is free.
	Target Inspector
	// Approved are who approve of the plan with a hash.
	Approved func(ctx context.Context, plan string) ([]string, error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Problem is something that keeps a deployment from beginning.
type Problem struct {
	Check string `json:"check"`
	What  string `json:"what"`
	Do    string `json:"do,omitempty"`
}

// PreflightError is everything that keeps a deployment from beginning.
type PreflightError struct{ Problems []Problem }

func (e *PreflightError) Error() string {
	lines := []string{fmt.Sprintf("preflight: %d problems:", len(e.Problems))}
	if len(e.Problems) == 1 {
		lines[0] = "preflight: 1 problem:"
	}
	for _, p := range e.Problems {
		text := "  " + p.Check + ": " + p.What
		if p.Do != "" {
			text += "; " + p.Do
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n")
}

// lookBound bounds each question of a preflight.
const lookBound = 20 * time.Second

// check is one of a preflight's.
type check struct {
	name string
	on   bool
	do   func(ctx context.Context, plan *Plan) ([]Problem, error)
}

func (p *Preflight) checks() []check {
	return []check{
		{"freeze", true, p.frozen},
		{"contract migrations", true, contracts},
		{"configuration", p.Missing != nil, p.configured},
		{"secrets", p.Resolve != nil, p.resolvable},
		{"schema", p.Database != nil, p.above},
		{"disk", p.Free != nil, p.fits},
		{"slot", p.Target != nil, p.free},
		{"approvals", p.Approved != nil, p.approved},
	}
}

// Names are what is checked, for the plan.
func (p *Preflight) Names() (names []string) {
	for _, c := range p.checks() {
		if c.on {
			names = append(names, c.name)
		}
	}
	return names
}

// Check makes every check and says all that is wrong at once, as a *PreflightError. A check that can't be made is a problem.
func (p *Preflight) Check(ctx context.Context, plan *Plan) error {
	var all []Problem
	for _, c := range p.checks() {
		if !c.on {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, lookBound)
		problems, err := c.do(bounded, plan)
		cancel()
		if err != nil {
			problems = append(problems, Problem{What: err.Error(), Do: "it could not be checked: make it answer, and try again"})
		}
		for _, problem := range problems {
			problem.Check = c.name
			all = append(all, problem)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("preflight: %w", context.Cause(ctx))
	}
	if len(all) > 0 {
		return &PreflightError{all}
	}
	return nil
}

func (p *Preflight) frozen(_ context.Context, plan *Plan) (problems []Problem, err error) {
	now := time.Now()
	if p.Now != nil {
		now = p.Now()
	}
	if plan.Override != nil {
		if strings.TrimSpace(plan.Override.Reason) == "" || plan.Override.By == "" {
			return []Problem{{What: "it is overridden without a name or a reason", Do: "say why: it is recorded"}}, nil
		}
		return nil, nil
	}
	for _, f := range plan.Freeze {
		if end, frozen := f.Until(now); frozen {
			problems = append(problems, Problem{What: fmt.Sprintf("nothing is deployed until %s (%s)", end.Format("Mon 2 Jan 15:04 MST"), f),
				Do: "wait, or override it with a reason, which is recorded"})
		}
	}
	return problems, nil
}

func contracts(_ context.Context, plan *Plan) (problems []Problem, err error) {
	for _, m := range plan.Migrations {
		for _, version := range []string{plan.From.Version, plan.To.Version} {
			if version != "" && slices.Contains(m.NeededBy, version) {
				problems = append(problems, Problem{What: fmt.Sprintf("migration %d %s takes away what %s needs: %s", m.Version, m.Name, version, m.Contract),
					Do: "deploy a release that doesn't need it first, and the migration with the one after"})
				break
			}
		}
	}
	return problems, nil
}

func (p *Preflight) configured(ctx context.Context, plan *Plan) (problems []Problem, err error) {
	missing, err := p.Missing(ctx, plan)
	for _, name := range missing {
		problems = append(problems, Problem{What: name + " is missing", Do: "set it for " + plan.Environment})
	}
	return problems, err
}

func (p *Preflight) resolvable(ctx context.Context, plan *Plan) (problems []Problem, err error) {
	for _, name := range slices.Sorted(maps.Keys(plan.Secrets)) {
		if err := p.Resolve(ctx, name); err != nil {
			problems = append(problems, Problem{What: fmt.Sprintf("%s can't be resolved: %v", name, err), Do: "store it, or let this machine read it"})
		}
	}
	return problems, nil
}

func (p *Preflight) above(ctx context.Context, plan *Plan) ([]Problem, error) {
	if err := p.Database.Allows(ctx, plan.To.Version); err != nil {
		return []Problem{{What: err.Error(), Do: "deploy a newer release"}}, nil
	}
	return nil, nil
}

func (p *Preflight) fits(ctx context.Context, plan *Plan) ([]Problem, error) {
	free, err := p.Free(ctx)
	if err == nil && free < plan.Disk {
		return []Problem{{What: fmt.Sprintf("%.1f MB are free, the release needs %.1f MB", float64(free)/1e6, float64(plan.Disk)/1e6), Do: "make room"}}, nil
	}
	return nil, err
}

func (p *Preflight) free(ctx context.Context, plan *Plan) ([]Problem, error) {
	for _, s := range plan.Steps {
		if s.State != Starting {
			continue
		}
		found, ok, err := p.Target.Running(ctx, s.Slot)
		if err == nil && ok {
			return []Problem{{What: fmt.Sprintf("%s, where the release is to start, runs %s", s.Slot, found.Release.Version),
				Do: "a deployment has not ended: resume it, or take it back"}}, nil
		}
		return nil, err
	}
	return nil, errors.New("the plan starts nothing")
}

func (p *Preflight) approved(ctx context.Context, plan *Plan) ([]Problem, error) {
	if plan.Approvals.Needed == 0 {
		return nil, nil
	}
	hash := plan.Hash()
	people, err := p.Approved(ctx, hash)
	if err != nil {
		return nil, err
	}
	if len(plan.Approvals.Of) > 0 {
		people = slices.DeleteFunc(slices.Clone(people), func(name string) bool { return !slices.Contains(plan.Approvals.Of, name) })
	}
	slices.Sort(people)
	people = slices.Compact(people)
	if missing := plan.Approvals.Needed - len(people); missing > 0 {
		return []Problem{{What: fmt.Sprintf("%d of %d approvals are missing", missing, plan.Approvals.Needed), Do: "have plan " + hash + " approved"}}, nil
	}
	return nil, nil
}
