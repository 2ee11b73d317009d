// Package canary decides whether a release that gets a share of the traffic is worse than the one that runs: the
// statistics, the ramp and its verdict. It is pure: observations and the time come by argument, decisions are returned;
// it opens no connection, starts no goroutine and has no clock. The deployment's state machine calls it, feeds it with
// what the router saw, does what Decide says and saves it, as JSON, before it does.
//
// # The test
//
// Users are put on a slot at random (the router's cohorts). If the canary is as good as the stable release, then a user
// who meets a failure is on the canary with probability w, the canary's share at that moment, however many failures there
// are and whatever happens to both: an outage of a database lands on both. Process bets against this, event by event. Its
// fortune E is a non-negative martingale while the canary is as good, so that it ever exceeds 1/alpha with probability
// alpha at most (Ville 1939; Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid
// inference", 2023; for counts of two slots: Lindon, Malek, "Anytime-valid inference for multinomial count data", 2022).
// One may therefore look after every request, and change w, without raising the share of false alarms.
//
// # What is counted
//
// Users were randomised, not requests: of one client that retries a thousand times only the first failure counts. Each
// cohort therefore enters a process once. Counting a cohort again for another route would count the same draw twice, so
// routes and kinds have processes of their own beside the one that pools all failures.
//
// The processes share cohorts, so they do not live in one filtration, and the average of them need not be a martingale
// (Choe, Ramdas, "Combining evidence across filtrations", 2024). Alpha is split among them instead: Ville's inequality
// holds for each by itself and the union bound for all, however they depend on each other.
//
// Validity needs no stratification by route: a confounder would have to move w, and the router draws the slot without
// looking at the route (so there is no Simpson's paradox to fear). Requests that a segment rule sent to a slot were not
// drawn; they are Pinned and do not count. Strata are there for power: a rarely used route that is broken is lost among
// the failures of a busy one.
//
// # What it cannot see
//
// Corrupted data, wrong answers with status 200, and failures that come after the bake time. After a ramp to 95 % with 5 %
// held back there is little left to compare with: there it takes a hundred failing users, so what a canary is to find it
// has to find earlier.
package canary

import (
	"errors"
	"fmt"
	"time"
)

// Canary is a release on its ramp. It is saved and restored as JSON: what is restored behaves as what was saved. It is not
// safe for concurrent use.
type Canary struct {
	plan  Plan
	judge *Judge
	state position
}

// position is where on the ramp a canary is.
type position struct {
	Step    int       `json:"step"`    // index of Plan.Steps; their number during the bake
	Shifted time.Time `json:"shifted"` // zero until the router has the step's share
	Ended   Action    `json:"ended,omitempty"`
	Reasons []string  `json:"reasons,omitempty"` // of the end
}

// New is a canary before its first step. The error says what is wrong with the plan.
func New(plan Plan) (*Canary, error) {
	plan = plan.withDefaults()
	if err := plan.check(); err != nil {
		return nil, fmt.Errorf("check canary plan: %w", err)
	}
	return &Canary{plan: plan, judge: NewJudge(plan.Options)}, nil
}

// Action is what the deployment is to do now.
type Action string

// The actions.
const (
	Hold     Action = "hold"     // wait, and ask again
	Shift    Action = "shift"    // give the canary Percent of the users, then call Shifted
	Ask      Action = "ask"      // a person has to decide: Proceed or RollBack
	RollBack Action = "rollback" // give the canary nothing; final
	Finish   Action = "finish"   // give the canary everything; final
)

// Decision is an action and why.
type Decision struct {
	Do      Action    `json:"do"`
	Percent int       `json:"percent"`
	Until   time.Time `json:"until,omitzero"` // of Hold: the earliest time at which the decision can differ for the better
	Verdict Verdict   `json:"verdict"`
	Reasons []string  `json:"reasons"`
	// Synthetic is how many users of synthetic traffic, sent through the router, would give the step its exposure.
	Synthetic int `json:"synthetic,omitempty"`
}

// Shifted says that the router gives the canary the step's share since then. Saying it again changes nothing.
func (c *Canary) Shifted(at time.Time) {
	if !c.state.Shifted.IsZero() || c.state.Ended != "" {
		return
	}
	c.state.Shifted = at.UTC().Round(0)
	if c.state.Step == 0 {
		c.judge.ignoreUntil(c.state.Shifted.Add(c.plan.WarmUp))
	}
	c.judge.beginStep()
}

// Observe takes a request that ended.
func (c *Canary) Observe(o Observation) { c.judge.Observe(o) }

// Pair takes a metric's value on both slots over the same time. The error is about a metric that was not declared.
func (c *Canary) Pair(metric string, canary, stable float64) error {
	return c.judge.Pair(metric, canary, stable)
}

// Check takes whether a metric's query was satisfied. The error is about a metric that was not declared.
func (c *Canary) Check(metric string, passed bool) error { return c.judge.Check(metric, passed) }

// Decide is what to do at a time. It may be called at any moment and as often as one likes: an action stays the same until
// it is confirmed or something is observed.
func (c *Canary) Decide(now time.Time) Decision {
	verdict := c.judge.Verdict(c.plan.need(c.state.Step))
	decision := Decision{Do: Hold, Percent: c.plan.percent(c.state.Step), Verdict: verdict, Reasons: verdict.Reasons}
	if c.state.Ended == "" && verdict.Is == Rollback {
		c.end(RollBack, verdict.Reasons)
	}
	if c.state.Ended != "" {
		decision.Do, decision.Reasons, decision.Percent = c.state.Ended, c.state.Reasons, 0
		if c.state.Ended == Finish {
			decision.Percent = 100
		}
		return decision
	}
	if c.state.Shifted.IsZero() {
		decision.Do = Shift
		return decision
	}
	due := c.due()
	if now.Before(due) {
		decision.Until = due
		return decision
	}
	if verdict.Is == Promote {
		return c.advance(decision)
	}
	decision.Synthetic = verdict.missing(c.plan.percent(c.state.Step))
	if deadline := due.Add(c.plan.Extend); now.Before(deadline) {
		decision.Until = deadline
		return decision
	}
	late := fmt.Sprintf("still undecided %v after the step's time", c.plan.Extend)
	switch {
	case c.plan.Inconclusive == Ask, c.plan.Inconclusive == Shift && (verdict.Exposed < verdict.Needed || verdict.suspicious):
		decision.Do, decision.Reasons = Ask, append([]string{late}, verdict.Reasons...)
	case c.plan.Inconclusive == Shift:
		return c.advance(decision)
	default:
		c.end(RollBack, append([]string{late}, verdict.Reasons...))
		decision.Do, decision.Reasons, decision.Percent = RollBack, c.state.Reasons, 0
	}
	return decision
}

// due is when the step has had its time.
func (c *Canary) due() time.Time {
	due := c.state.Shifted.Add(c.plan.least(c.state.Step))
	if c.state.Step == 0 {
		due = due.Add(c.plan.WarmUp)
	}
	return due
}

// advance goes to the next step, or ends the ramp.
func (c *Canary) advance(decision Decision) Decision {
	decision.Synthetic = 0
	if c.state.Step == len(c.plan.Steps) {
		c.end(Finish, decision.Reasons)
		decision.Do, decision.Percent = Finish, 100
		return decision
	}
	c.state.Step++
	c.state.Shifted = time.Time{}
	decision.Do, decision.Percent = Shift, c.plan.percent(c.state.Step)
	return decision
}

func (c *Canary) end(action Action, reasons []string) {
	c.state.Ended, c.state.Reasons = action, reasons
}

// Proceed goes to the next step, or ends the ramp, because somebody says so. It is refused after an end, after a verdict to
// roll back, and before the step has begun.
func (c *Canary) Proceed(who string) (Decision, error) {
	verdict := c.judge.Verdict(c.plan.need(c.state.Step))
	switch {
	case c.state.Ended != "":
		return Decision{}, fmt.Errorf("proceed: the canary has ended (%s); start a new deployment", c.state.Ended)
	case verdict.Is == Rollback:
		return Decision{}, errors.New("proceed: the canary is worse than the stable release; roll back")
	case c.state.Shifted.IsZero():
		return Decision{}, errors.New("proceed: the step has not begun; shift first")
	}
	return c.advance(Decision{Verdict: verdict, Reasons: []string{who + " decided to go on"}}), nil
}

// Abort ends the ramp because somebody says so. After an end it changes nothing.
func (c *Canary) Abort(who string) {
	if c.state.Ended == "" {
		c.end(RollBack, []string{who + " decided to roll back"})
	}
}
