package canary

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Judge collects what is known about a canary. It is not safe for concurrent use. Its memory grows with the number of
// different users that met a failure or a slow answer, at about 40 bytes each.
type Judge struct {
	options Options
	state   known
}

// Options are what the verdict is held against. A zero field takes its default.
type Options struct {
	// Alpha is the probability of rolling back, at any time, a release that is as good; 0.01.
	Alpha float64 `json:"alpha"`
	// Confidence of the bounds that allow a promotion, at all times together; 0.95.
	Confidence float64 `json:"confidence"`
	// MaxRatio allows a promotion when the odds of a failure are at most this many times stable's; 2.
	MaxRatio float64 `json:"max_ratio"`
	// Metrics are the application's own.
	Metrics []Metric `json:"metrics,omitempty"`
	// Synthetic declares that the pipeline's own requests count. They must go through the router like everybody's.
	Synthetic bool `json:"synthetic,omitempty"`
}

func (o Options) withDefaults() Options {
	if o.Alpha == 0 {
		o.Alpha = .01
	}
	if o.Confidence == 0 {
		o.Confidence = .95
	}
	if o.MaxRatio == 0 {
		o.MaxRatio = 2
	}
	o.Metrics = slices.Clone(o.Metrics)
	for i := range o.Metrics {
		if m := &o.Metrics[i]; m.Kind == Checks && m.AllowedFailures == 0 {
			m.AllowedFailures = defaultAllowedFailures
		}
	}
	return o
}

func (o Options) check() error {
	var wrong []error
	inside := func(name string, value, low, high float64) {
		if !(value > low && value < high) {
			wrong = append(wrong, fmt.Errorf("%s %v must be between %v and %v", name, value, low, high))
		}
	}
	inside("alpha", o.Alpha, 0, .5)
	inside("confidence", o.Confidence, .5, 1)
	inside("max_ratio", o.MaxRatio, 1, boundHigh)
	names := map[string]bool{}
	for _, m := range o.Metrics {
		switch {
		case m.Name == "" || names[m.Name]:
			wrong = append(wrong, fmt.Errorf("metric %q: give each metric a name of its own", m.Name))
		case m.Kind == Checks:
			inside("metric "+m.Name+": allowed_failures", m.AllowedFailures, 0, 1)
		case m.Kind != Pairs:
			wrong = append(wrong, fmt.Errorf("metric %s: kind %q must be %s or %s", m.Name, m.Kind, Pairs, Checks))
		}
		names[m.Name] = true
	}
	return errors.Join(wrong...)
}

// known is what a Judge has to remember. The arrays are by slot: stable, canary.
type known struct {
	From    time.Time `json:"from,omitzero"` // what was routed before does not count
	Ignored int       `json:"ignored,omitempty"`

	Seen      [2]distinct `json:"seen"`
	InStep    distinct    `json:"in_step"` // on the canary, since the step began
	Synthetic distinct    `json:"synthetic"`
	Failed    [2]keys     `json:"failed"`

	Failures     Process               `json:"failures"`
	Strata       map[string]*stratum   `json:"strata,omitempty"` // by route and kind
	Latency      once                  `json:"latency"`
	Thresholds   map[string]*threshold `json:"thresholds,omitempty"` // by route
	ClientErrors once                  `json:"client_errors"`
	Metrics      map[string]*Process   `json:"metrics,omitempty"`

	// Crossed is the first evidence that was enough: a verdict to roll back is final.
	Crossed *Evidence `json:"crossed,omitempty"`
}

// once is a process that each cohort enters once.
type once struct {
	Process Process `json:"process"`
	Users   keys    `json:"users,omitempty"`
}

// add reports whether the cohort was new.
func (s *once) add(id key, canary bool, share float64) bool {
	if s.Users.has(id) {
		return false
	}
	if s.Users == nil {
		s.Users = keys{}
	}
	s.Users[id] = struct{}{}
	s.Process.Add(canary, share)
	return true
}

// stratum is one kind of failure on one route.
type stratum struct {
	once
	Route string `json:"route"`
	Kind  string `json:"kind"`
	Order int    `json:"order"` // 1 for the first that failed
}

// What is kept by route is bounded, in case paths are given where patterns should be.
const (
	mostStrata = 64
	mostRoutes = 256
)

// NewJudge is a judge who knows nothing yet. The options are those of a Plan that was checked.
func NewJudge(options Options) *Judge {
	return &Judge{options: options.withDefaults(), state: known{
		Strata: map[string]*stratum{}, Thresholds: map[string]*threshold{}, Metrics: map[string]*Process{},
	}}
}

// ignoreUntil drops what is routed before a time, on both slots: a warm-up of one alone would change its share.
func (j *Judge) ignoreUntil(at time.Time) { j.state.From = at }

// beginStep begins to count a step's exposure.
func (j *Judge) beginStep() { j.state.InStep = distinct{} }

// Observe takes a request that ended, in any order.
func (j *Judge) Observe(o Observation) {
	s := &j.state
	if o.Cohort == "" || o.Pinned || o.Outcome == Aborted || o.At.Before(s.From) || o.Synthetic && !j.options.Synthetic {
		s.Ignored++
		return
	}
	id, slot := keyOf(o.Cohort), 0
	if o.Canary {
		slot = 1
		s.InStep.add(id)
		if o.Synthetic {
			s.Synthetic.add(id)
		}
	}
	s.Seen[slot].add(id)
	switch {
	case o.Outcome.failed():
		j.failure(o, id, slot)
	case o.Outcome == ClientError:
		s.ClientErrors.add(id, o.Canary, o.Share)
	default:
		j.latency(o, id)
	}
}

// failure counts a user who met a failure: once among all, and once among those of this kind on this route.
func (j *Judge) failure(o Observation, id key, slot int) {
	s := &j.state
	if !s.Failed[0].has(id) && !s.Failed[1].has(id) {
		s.Failures.Add(o.Canary, o.Share)
		j.weigh(&s.Failures, j.options.Alpha*failuresPart, j.failures)
	}
	if s.Failed[slot] == nil {
		s.Failed[slot] = keys{}
	}
	s.Failed[slot][id] = struct{}{}

	name := o.Route + " " + o.Outcome.String()
	of := s.Strata[name]
	if of == nil {
		if len(s.Strata) == mostStrata {
			return
		}
		of = &stratum{Route: o.Route, Kind: o.Outcome.String(), Order: len(s.Strata) + 1}
		s.Strata[name] = of
	}
	if of.add(id, o.Canary, o.Share) {
		j.weigh(&of.Process, j.stratumPart(of), func() Evidence { return j.stratum(of) })
	}
}

// latency compares a good answer with the stable slot's earlier ones.
func (j *Judge) latency(o Observation, id key) {
	s := &j.state
	if o.Latency <= 0 {
		return
	}
	of := s.Thresholds[o.Route]
	if of == nil {
		if len(s.Thresholds) == mostRoutes {
			return
		}
		of = &threshold{}
		s.Thresholds[o.Route] = of
	}
	if of.slow(o.Latency) && s.Latency.add(id, o.Canary, o.Share) {
		j.weigh(&s.Latency.Process, j.part(), j.slowness)
	}
	if !o.Canary {
		of.learn(o.Latency)
	}
}

// Pair takes a metric's value on both slots over the same time. The error is about a metric that was not declared so.
func (j *Judge) Pair(metric string, canary, stable float64) error {
	m, err := j.metric(metric, Pairs)
	if err != nil {
		return fmt.Errorf("take pair of values: %w", err)
	}
	if canary == stable || canary != canary || stable != stable { // a tie, or not a number
		return nil
	}
	j.event(m, (canary > stable) != m.LowerIsWorse, .5)
	return nil
}

// Check takes whether a metric's query was satisfied. The error is about a metric that was not declared so.
func (j *Judge) Check(metric string, passed bool) error {
	m, err := j.metric(metric, Checks)
	if err != nil {
		return fmt.Errorf("take check: %w", err)
	}
	j.event(m, !passed, m.AllowedFailures)
	return nil
}

func (j *Judge) metric(name string, kind MetricKind) (Metric, error) {
	for _, m := range j.options.Metrics {
		if m.Name == name && m.Kind == kind {
			return m, nil
		}
	}
	return Metric{}, fmt.Errorf("no metric %q of kind %s is declared; declare it in the canary's metrics", name, kind)
}

func (j *Judge) event(m Metric, bad bool, p float64) {
	of := j.state.Metrics[m.Name]
	if of == nil {
		of = &Process{}
		j.state.Metrics[m.Name] = of
	}
	of.Add(bad, p)
	j.weigh(of, j.customPart(), func() Evidence { return j.custom(m) })
}

// weigh remembers the first evidence that is enough.
func (j *Judge) weigh(p *Process, alpha float64, full func() Evidence) {
	if j.state.Crossed == nil && p.E() >= 1/alpha {
		e := full()
		j.state.Crossed = &e
	}
}
