package canary

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Plan is a ramp and what it is held against. A zero field takes its default. Durations in JSON are nanoseconds.
type Plan struct {
	Steps []Step `json:"steps"`
	// WarmUp is how long, after the canary's first traffic, requests to either slot do not count: caches fill, code gets
	// compiled; 30 s. Negative for none.
	WarmUp time.Duration `json:"warm_up"`
	// HoldBack is the percentage of users that stays on the stable release during Bake: without it there is nothing to
	// compare with. 5; -1 for none.
	HoldBack int `json:"hold_back"`
	// Bake is how long the canary has everybody but them; 10 min.
	Bake time.Duration `json:"bake"`
	// Extend is how much longer than its time a step may take while the verdict is INCONCLUSIVE; 30 min. Negative for none.
	Extend time.Duration `json:"extend"`
	// Inconclusive is what happens then: RollBack (the default), Ask, or Shift, which goes on in spite of wide bounds, but
	// asks when the step lacks exposure or something is suspicious: silence never promotes.
	Inconclusive Action  `json:"inconclusive"`
	Options      Options `json:"options"`
}

// Step is a part of the ramp.
type Step struct {
	Percent int           `json:"percent"` // of the users
	Least   time.Duration `json:"least"`   // how long it takes at least
	// Exposure is how many distinct users must have been on the canary during the step.
	Exposure int `json:"exposure"`
	// MaxExcess is how much greater than stable's the share of failing users may be, as far as can be excluded by then.
	MaxExcess float64 `json:"max_excess"`
}

// DefaultSteps are for a few thousand users an hour. Each excludes about what its exposure can show.
func DefaultSteps() []Step {
	return []Step{
		{Percent: 1, Least: 5 * time.Minute, Exposure: 10, MaxExcess: .35},
		{Percent: 5, Least: 5 * time.Minute, Exposure: 40, MaxExcess: .10},
		{Percent: 25, Least: 10 * time.Minute, Exposure: 200, MaxExcess: .025},
		{Percent: 50, Least: 10 * time.Minute, Exposure: 400, MaxExcess: .015},
	}
}

func (p Plan) withDefaults() Plan {
	if len(p.Steps) == 0 {
		p.Steps = DefaultSteps()
	}
	p.Steps = slices.Clone(p.Steps)
	switch {
	case p.WarmUp == 0:
		p.WarmUp = 30 * time.Second
	case p.WarmUp < 0:
		p.WarmUp = 0
	}
	switch p.HoldBack {
	case 0:
		p.HoldBack = 5
	case -1:
		p.HoldBack = 0
	}
	if p.Bake == 0 {
		p.Bake = 10 * time.Minute
	}
	switch {
	case p.Extend == 0:
		p.Extend = 30 * time.Minute
	case p.Extend < 0:
		p.Extend = 0
	}
	if p.Inconclusive == "" {
		p.Inconclusive = RollBack
	}
	p.Options = p.Options.withDefaults()
	return p
}

func (p Plan) check() error {
	var wrong []error
	last := 0
	for i, step := range p.Steps {
		at := fmt.Sprintf("step %d (%d %%)", i+1, step.Percent)
		if step.Percent <= last || step.Percent >= 100 {
			wrong = append(wrong, fmt.Errorf("%s: percentages must rise from 1 to 99; what comes after the last is bake", at))
		}
		if step.Least < 0 || step.Exposure < 1 {
			wrong = append(wrong, fmt.Errorf("%s: needs a time of 0 or more and an exposure of 1 user or more", at))
		}
		if step.MaxExcess <= 0 || step.MaxExcess > 1 {
			wrong = append(wrong, fmt.Errorf("%s: max_excess %v is no share of users; give .02 for 2 %%", at, step.MaxExcess))
		}
		last = step.Percent
	}
	if p.HoldBack < 0 || p.HoldBack > 50 {
		wrong = append(wrong, fmt.Errorf("hold_back %d %% must be 0 to 50", p.HoldBack))
	}
	if p.Bake < 0 {
		wrong = append(wrong, fmt.Errorf("bake %v must not be negative", p.Bake))
	}
	switch p.Inconclusive {
	case RollBack, Ask, Shift:
	default:
		wrong = append(wrong, fmt.Errorf("inconclusive %q must be %s, %s or %s", p.Inconclusive, RollBack, Ask, Shift))
	}
	return errors.Join(append(wrong, p.Options.check())...)
}

// percent is the canary's share during a step, the last of which is the bake.
func (p Plan) percent(step int) int {
	if step >= len(p.Steps) {
		return 100 - p.HoldBack
	}
	return p.Steps[step].Percent
}

func (p Plan) least(step int) time.Duration {
	if step >= len(p.Steps) {
		return p.Bake
	}
	return p.Steps[step].Least
}

// need is what leaving a step takes. The bake needs what the last step did.
func (p Plan) need(step int) Need {
	of := p.Steps[min(step, len(p.Steps)-1)]
	return Need{Exposure: of.Exposure, MaxExcess: of.MaxExcess}
}
