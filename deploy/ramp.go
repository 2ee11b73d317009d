package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
)

// Ramp is what a canary deployment needs beside a deployment's own.
type Ramp struct {
	Plan     canary.Plan
	Recorder Recorder
	Store    Store
	// Meter measures the metrics that the plan declares; nil where it declares none.
	Meter Meter
	// Decider answers where the plan says to ask when a step stays undecided.
	Decider Decider
	// Every is how often observations are read and decided on; 0 is DefaultEvery.
	Every time.Duration
}

// DefaultEvery is how often a canary is decided on.
const DefaultEvery = 500 * time.Millisecond

// measureEvery is how far apart measurements of the application's own metrics are: one must not say what the next will be.
const measureEvery = 30 * time.Second

// Recorder hands over what the splitter saw of a slot's requests.
type Recorder interface {
	// Records returns the requests that have ended on the slot after a cursor, "" for as far back as is known, in order. It
	// doesn't wait for any.
	Records(ctx context.Context, slot Slot, after string) (Records, error)
}

// Records are requests that have ended on a slot.
type Records struct {
	// Observations have the slot's own share of the users as their Share, and Canary not set.
	Observations []canary.Observation
	Next         string // cursor for what follows
	Lost         uint64 // how many were forgotten before they could be read; those that follow are later
}

// Meter measures an application's own metrics, by a query to whatever has them.
type Meter interface {
	// Measure measures each declared metric over the time since the last measurement.
	Measure(ctx context.Context, stable, canary Slot, since time.Time) ([]Measured, error)
}

// Measured is a metric's value: of Pairs on both slots, of Checks whether the canary has passed.
type Measured struct {
	Metric         string
	Stable, Canary float64
	Passed         bool
}

// Store keeps, under a deployment's ID, what it needs to go on after a kill.
type Store interface {
	// Save replaces what was kept; it is durable when it returns. An error that is a LostError says that the lock is lost.
	Save(ctx context.Context, deployment string, data []byte) error
	// Load returns what was saved last, nil where nothing was.
	Load(ctx context.Context, deployment string) ([]byte, error)
}

// Decider knows what people decided.
type Decider interface {
	// Answer returns what somebody decided about a deployment since it asked, or By "" while nobody has.
	Answer(ctx context.Context, deployment string) (Answer, error)
}

// Answer is a person's decision.
type Answer struct {
	By      string
	Proceed bool // otherwise roll back
}

// CanaryError says that a canary was rolled back from, and why.
type CanaryError struct{ Decision canary.Decision }

func (e *CanaryError) Error() string {
	return fmt.Sprintf("canary: %s: %s", e.Decision.Verdict.Is, strings.Join(e.Decision.Reasons, "; "))
}

func (r *Ramp) check() error {
	if r.Recorder == nil || r.Store == nil {
		return errors.New("a canary needs a recorder of its requests and a store for what it knows")
	}
	if r.Plan.Inconclusive != "" && r.Plan.Inconclusive != canary.RollBack && r.Decider == nil {
		return errors.New("a canary that asks when it is undecided needs somebody who answers")
	}
	if len(r.Plan.Options.Metrics) > 0 && r.Meter == nil {
		return errors.New("a canary that declares metrics needs somebody who measures them")
	}
	_, err := canary.New(r.Plan)
	return err
}

// bound is longer than the ramp can take.
func (r *Ramp) bound() time.Duration {
	bound := max(r.Plan.WarmUp, time.Minute) + max(r.Plan.Bake, time.Hour) + askBound
	steps := r.Plan.Steps
	if len(steps) == 0 {
		steps = canary.DefaultSteps()
	}
	for _, s := range steps {
		bound += s.Least
	}
	return bound + time.Duration(len(steps)+1)*max(r.Plan.Extend, time.Hour)
}

// saveEvery is how often a canary is saved while it holds; before an action it always is.
const saveEvery = 10 * time.Second

// ramping is a ramp under way: what is saved of it, together, so that no request counts twice or not at all.
type ramping struct {
	Canary  *canary.Canary  `json:"canary"`
	Cursors map[Slot]string `json:"cursors"`
	// Measured is when metrics were measured last.
	Measured time.Time `json:"measured,omitzero"`

	d     *Deployment
	saved time.Time
}

// ramp gives the release a growing share of the users, until there is a verdict. It does nothing where there is nothing to
// compare with.
func (d *Deployment) ramp(ctx context.Context) error {
	if d.Strategy != Canary || d.way.from.Slot == "" || d.way.back {
		return nil
	}
	r, err := d.loadRamp(ctx)
	if err != nil {
		return fmt.Errorf("restore canary: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.Ramp.bound(), fmt.Errorf("the ramp took longer than %s", d.Ramp.bound()))
	defer cancel()
	for {
		done, err := r.turn(ctx)
		if err != nil {
			return &StepError{State: Ramping, Slot: d.way.slot, Err: err}
		}
		if done {
			return nil
		}
	}
}

func (d *Deployment) loadRamp(ctx context.Context) (*ramping, error) {
	r := &ramping{d: d, Cursors: map[Slot]string{}}
	if d.resumed {
		data, err := d.Ramp.Store.Load(ctx, d.ID)
		if err != nil {
			return nil, err
		}
		if data != nil {
			r.Canary = &canary.Canary{}
			return r, json.Unmarshal(data, r)
		}
	}
	var err error
	r.Canary, err = canary.New(d.Ramp.Plan)
	return r, err
}

func (r *ramping) save(ctx context.Context) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("save canary: %w", err)
	}
	if err := r.d.Ramp.Store.Save(ctx, r.d.ID, data); err != nil {
		return fmt.Errorf("save canary: %w", err)
	}
	r.saved = r.d.now()
	return nil
}

// turn decides once and does that. What is decided is saved before it is done.
func (r *ramping) turn(ctx context.Context) (done bool, err error) {
	d := r.d
	decision := r.Canary.Decide(d.now())
	if decision.Do != canary.Hold || d.now().Sub(r.saved) >= saveEvery {
		if err := r.save(ctx); err != nil {
			return false, err
		}
	}
	d.tell(Event{Kind: DecisionEvent, State: Ramping, Slot: d.way.slot, Release: d.way.release.Version, Decision: &decision,
		Detail: fmt.Sprintf("%s at %d %%: %s", decision.Do, decision.Percent, strings.Join(decision.Reasons, "; "))})
	switch decision.Do {
	case canary.Finish:
		return true, nil
	case canary.RollBack:
		return false, &CanaryError{decision}
	case canary.Shift:
		return false, r.shift(ctx, decision)
	case canary.Ask:
		if err := r.ask(ctx); err != nil {
			return false, err
		}
	}
	every := d.Ramp.Every
	if every == 0 {
		every = DefaultEvery
	}
	if err := d.pause(ctx, every); err != nil {
		return false, err
	}
	if err := d.alive(ctx, d.way.slot); err != nil {
		return false, err
	}
	bounded, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	if err := r.observe(bounded); err != nil {
		return false, err
	}
	return false, r.measure(bounded)
}

// measure takes the application's own metrics. A query that fails is no failure of the canary: without a value it isn't
// promoted.
func (r *ramping) measure(ctx context.Context) error {
	d, now := r.d, r.d.now()
	if d.Ramp.Meter == nil || now.Sub(r.Measured) < measureEvery {
		return nil
	}
	since := r.Measured
	if since.IsZero() {
		since = now.Add(-measureEvery)
	}
	list, err := d.Ramp.Meter.Measure(ctx, d.way.from.Slot, d.way.slot, since)
	if err != nil {
		d.tell(Event{Kind: WarningEvent, State: Ramping, Slot: d.way.slot, Detail: fmt.Sprintf("measure: %v", err)})
		return nil
	}
	r.Measured = now
	for _, m := range list {
		i := slices.IndexFunc(d.Ramp.Plan.Options.Metrics, func(of canary.Metric) bool { return of.Name == m.Metric })
		if i >= 0 && d.Ramp.Plan.Options.Metrics[i].Kind == canary.Checks {
			err = r.Canary.Check(m.Metric, m.Passed)
		} else {
			err = r.Canary.Pair(m.Metric, m.Canary, m.Stable)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *ramping) shift(ctx context.Context, decision canary.Decision) error {
	d := r.d
	detail := fmt.Sprintf("%d %%: %s", decision.Percent, strings.Join(decision.Reasons, "; "))
	if err := d.enter(ctx, Ramping, d.way.slot, d.way.release, detail); err != nil {
		return err
	}
	d.way.moved = true
	weights := map[Slot]int{d.way.slot: decision.Percent, d.way.from.Slot: 100 - decision.Percent}
	if err := d.Splitter.Shift(ctx, weights); err != nil {
		return fmt.Errorf("give %s %d %%: %w", d.way.slot, decision.Percent, err)
	}
	r.Canary.Shifted(d.now())
	return r.save(ctx)
}

func (r *ramping) ask(ctx context.Context) error {
	if r.d.Ramp.Decider == nil {
		return errors.New("nobody is there to ask")
	}
	answer, err := r.d.Ramp.Decider.Answer(ctx, r.d.ID)
	if err != nil {
		return fmt.Errorf("ask what to do: %w", err)
	}
	switch {
	case answer.By == "":
		return nil
	case answer.Proceed:
		_, err = r.Canary.Proceed(answer.By)
		return err
	}
	r.Canary.Abort(answer.By)
	return nil
}

// observe reads what both slots have seen since the cursors, and lets the canary have it in the order of time. Where some
// was lost, on either, the other's of the same time is left out as well: a slot whose failures alone were forgotten would
// look good.
func (r *ramping) observe(ctx context.Context) error {
	d := r.d
	var all []canary.Observation
	var since time.Time
	next := map[Slot]string{}
	for _, slot := range []Slot{d.way.from.Slot, d.way.slot} {
		records, err := d.Ramp.Recorder.Records(ctx, slot, r.Cursors[slot])
		if err != nil {
			return fmt.Errorf("read the requests on %s: %w", slot, err)
		}
		if records.Lost > 0 && r.Cursors[slot] != "" {
			d.tell(Event{Kind: WarningEvent, State: Ramping, Slot: slot, Detail: fmt.Sprintf("%d requests were forgotten before the canary could count them", records.Lost)})
			first := d.now() // nothing follows: all until now may be missing
			if len(records.Observations) > 0 {
				first = records.Observations[0].At
			}
			since = later(since, first)
		}
		for _, o := range records.Observations {
			if o.Canary = slot == d.way.slot; !o.Canary {
				o.Share = 1 - o.Share
			}
			if o.Share > 0 && o.Share < 1 { // otherwise nothing was drawn
				all = append(all, o)
			}
		}
		next[slot] = records.Next
	}
	slices.SortStableFunc(all, func(a, b canary.Observation) int { return a.At.Compare(b.At) })
	for _, o := range all {
		if !o.At.Before(since) {
			r.Canary.Observe(o)
		}
	}
	r.Cursors = next
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
