package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/canary"
)

// shifts are the shares that slots were given.
func (s *site) shifts() (list []string) {
	for _, what := range s.did {
		if text, is := strings.CutPrefix(what, "shift "); is {
			list = append(list, text)
		}
	}
	return list
}

func TestACanaryClimbsItsRampStepByStep(t *testing.T) {
	s := opened(t, Canary)
	d := s.now(t.Context(), t, "d1")
	var decisions []string
	d.Progress = func(e Event) {
		if e.Kind == DecisionEvent {
			data, err := json.Marshal(e)
			require.NoError(t, err)
			require.Contains(t, string(data), `"verdict"`)
			if e.Decision.Do != canary.Hold {
				decisions = append(decisions, string(e.Decision.Do))
			}
		}
	}
	require.NoError(t, d.Run(t.Context(), s.release("v2")))
	assert.Equal(t, []string{"blue 90 green 10", "blue 50 green 50", "blue 5 green 95", "green 100"}, s.shifts())
	assert.Equal(t, []string{"shift", "shift", "shift", "finish"}, decisions)
	var ramp []string
	for _, e := range s.of("d1") {
		if e.State == Ramping {
			share, _, _ := strings.Cut(e.Detail, ":")
			ramp = append(ramp, share)
		}
	}
	assert.Equal(t, []string{"10 %", "50 %", "95 %"}, ramp)
}

func TestABadCanaryIsGoneAfterItsFirstStep(t *testing.T) {
	s := opened(t, Canary)
	s.broken = "v2"
	err := whole(t.Context(), s, t)
	var bad *CanaryError
	require.ErrorAs(t, err, &bad)
	assert.Equal(t, canary.Rollback, bad.Decision.Verdict.Is)
	var step *StepError
	require.ErrorAs(t, err, &step)
	assert.Equal(t, Ramping, step.State)
	assert.Equal(t, []string{"blue 90 green 10", "blue 100"}, s.shifts())
	last := s.entries[len(s.entries)-1]
	assert.Equal(t, RolledBack, last.State)
	assert.Contains(t, last.Detail, "users who saw an error were on the canary")
}

func TestACanaryThatDiesIsTakenBack(t *testing.T) {
	s := opened(t, Canary)
	s.fails["alive"] = errors.New("exit status 3")
	d := s.now(t.Context(), t, "d1")
	d.Verifier = forgiving{s}
	require.ErrorContains(t, d.Run(t.Context(), s.release("v2")), "ramping (slot green): exit status 3")
	assert.Equal(t, "v1", d.Serving().Release.Version)
}

// forgiving doesn't ask whether what it probes is alive.
type forgiving struct{ *site }

func (f forgiving) Ready(ctx context.Context, i Instance, _ func() error) error {
	return f.site.Ready(ctx, i, func() error { return nil })
}

// people answer when they have been asked so often.
type people struct {
	after   int
	proceed bool
	err     error
}

func (p *people) Answer(context.Context, string) (Answer, error) {
	p.after--
	if p.err != nil || p.after > 0 {
		return Answer{}, p.err
	}
	return Answer{By: "ada", Proceed: p.proceed}, nil
}

func TestAnUndecidedCanaryDoesWhatIsConfigured(t *testing.T) {
	tests := map[string]struct {
		inconclusive canary.Action
		decider      Decider
		shifts       []string
		err          string
	}{
		"rolls back":           {canary.RollBack, nil, []string{"blue 90 green 10", "blue 100"}, "still undecided"},
		"asks, and goes on":    {canary.Ask, &people{after: 3, proceed: true}, []string{"blue 90 green 10", "blue 5 green 95", "green 100"}, ""},
		"asks, and rolls back": {canary.Ask, &people{after: 3}, []string{"blue 90 green 10", "blue 100"}, "ada decided to roll back"},
		"cannot ask":           {canary.Ask, &people{err: errors.New("chat is away")}, []string{"blue 90 green 10", "blue 100"}, "ask what to do: chat is away"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := opened(t, Canary)
			d := s.now(t.Context(), t, "d1")
			d.Ramp.Recorder = silence{}
			d.Ramp.Plan.Steps = d.Ramp.Plan.Steps[:1]
			d.Ramp.Plan.Inconclusive, d.Ramp.Decider = test.inconclusive, test.decider
			err := d.Run(t.Context(), s.release("v2"))
			if test.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.err)
			}
			assert.Equal(t, test.shifts, s.shifts())
		})
	}
}

type silence struct{}

func (silence) Records(context.Context, Slot, string) (Records, error) { return Records{}, nil }

func TestARampThatCannotWorkIsRefusedBeforeAnythingIsDone(t *testing.T) {
	tests := map[string]struct {
		change func(*Deployment)
		why    string
	}{
		"without a ramp":     {func(d *Deployment) { d.Ramp = nil }, "needs a ramp"},
		"without a recorder": {func(d *Deployment) { d.Ramp.Recorder = nil }, "needs a recorder"},
		"without a store":    {func(d *Deployment) { d.Ramp.Store = nil }, "a store"},
		"with nobody to ask": {func(d *Deployment) { d.Ramp.Plan.Inconclusive = canary.Ask }, "needs somebody who answers"},
		"with nobody who measures": {func(d *Deployment) {
			d.Ramp.Plan.Options.Metrics = []canary.Metric{{Name: "orders", Kind: canary.Pairs}}
		}, "needs somebody who measures"},
		"with a plan that is wrong": {func(d *Deployment) { d.Ramp.Plan.Steps[0].Percent = 100 }, "percentages must rise"},
		"rolling, on one host":      {func(d *Deployment) { d.Strategy = Rolling }, "needs several hosts"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := opened(t, Canary)
			d := s.now(t.Context(), t, "d1")
			test.change(d)
			assert.ErrorContains(t, d.Run(t.Context(), s.release("v2")), test.why)
			assert.Empty(t, s.did)
		})
	}
}

// scripted answers with records that a test has written.
type scripted struct {
	batches map[Slot][]Records
	asked   []string
}

func (r *scripted) Records(_ context.Context, slot Slot, after string) (Records, error) {
	r.asked = append(r.asked, string(slot)+" "+after)
	if len(r.batches[slot]) == 0 {
		return Records{Next: after}, nil
	}
	next := r.batches[slot][0]
	r.batches[slot] = r.batches[slot][1:]
	return next, nil
}

func TestWhatOneSlotLostIsLeftOutOnBoth(t *testing.T) {
	at := func(second int, cohort string, share float64) canary.Observation {
		return canary.Observation{At: goodTimes.Add(time.Duration(second) * time.Second), Cohort: cohort, Route: "GET /", Share: share}
	}
	script := &scripted{batches: map[Slot][]Records{
		Blue:  {{Next: "b1", Lost: 9}, {Observations: []canary.Observation{at(8, "s1", .9), at(9, "s2", .9)}, Next: "b2", Lost: 4}},
		Green: {{Next: "g1"}, {Observations: []canary.Observation{at(6, "c1", .1), at(7, "c2", .1), at(8, "c3", .1), at(9, "c4", 0)}, Next: "g2"}},
	}}
	plan := newSite(Canary).command("x").Ramp.Plan
	c, err := canary.New(plan)
	require.NoError(t, err)
	var told []string
	r := &ramping{Canary: c, Cursors: map[Slot]string{}, d: &Deployment{
		Ramp: &Ramp{Recorder: script}, way: way{slot: Green, from: Instance{Slot: Blue}}, Progress: func(e Event) { told = append(told, e.Detail) },
	}}
	c.Shifted(goodTimes)
	require.NoError(t, r.observe(t.Context()))
	require.NoError(t, r.observe(t.Context()))
	assert.Equal(t, []string{"blue ", "green ", "blue b1", "green g1"}, script.asked)
	assert.Equal(t, []string{"4 requests were forgotten before the canary could count them"}, told, "what was forgotten before the ramp is none of it")
	assert.Equal(t, [2]int{2, 1}, c.Decide(goodTimes).Verdict.Users, "c1 and c2 came when stable's were lost, c4 was not drawn")
	assert.Equal(t, map[Slot]string{Blue: "b2", Green: "g2"}, r.Cursors)
}

// queries measure what a test says.
type queries struct {
	list  []Measured
	err   error
	since []time.Time
}

func (q *queries) Measure(_ context.Context, _, _ Slot, since time.Time) ([]Measured, error) {
	q.since = append(q.since, since)
	return q.list, q.err
}

func TestACanaryIsHeldAgainstTheApplicationsOwnMetrics(t *testing.T) {
	tests := map[string]struct {
		meter *queries
		err   string
	}{
		"good values":        {&queries{list: []Measured{{Metric: "checkout", Passed: true}, {Metric: "orders", Canary: 2, Stable: 2.5}}}, ""},
		"a check that fails": {&queries{list: []Measured{{Metric: "checkout"}, {Metric: "orders", Canary: 2, Stable: 2}}}, "ROLLBACK: checkout"},
		"no value":           {&queries{err: errors.New("no such table")}, "checkout was never measured"},
		"an unknown metric":  {&queries{list: []Measured{{Metric: "typo"}}}, `no metric "typo"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := opened(t, Canary)
			d := s.now(t.Context(), t, "d1")
			d.Ramp.Plan.Options.Metrics = []canary.Metric{{Name: "checkout", Kind: canary.Checks}, {Name: "orders", Kind: canary.Pairs}}
			d.Ramp.Plan.Steps[0].Least = 5 * time.Minute
			d.Ramp.Meter = test.meter
			warned := 0
			d.Progress = func(e Event) {
				if e.Kind == WarningEvent {
					warned++
				}
			}
			err := d.Run(t.Context(), s.release("v2"))
			if test.err == "" {
				require.NoError(t, err)
				require.Greater(t, len(test.meter.since), 5)
				for i, at := range test.meter.since[2:] {
					assert.GreaterOrEqual(t, at.Sub(test.meter.since[i+1]), measureEvery)
				}
				return
			}
			require.ErrorContains(t, err, test.err)
			assert.Equal(t, test.meter.err != nil, warned > 0)
		})
	}
}

func TestARampThatIsResumedCountsNobodyTwice(t *testing.T) {
	straight := opened(t, Canary)
	require.NoError(t, whole(t.Context(), straight, t))
	s := stopped(t, Canary, "shift blue 50 green 50")
	require.NoError(t, s.command("").Resume(t.Context(), s.of("d1")))
	var saved [2]struct {
		Canary struct {
			Judge struct{ Known json.RawMessage }
		}
	}
	require.NoError(t, json.Unmarshal(straight.stored, &saved[0]))
	require.NoError(t, json.Unmarshal(s.stored, &saved[1]))
	assert.JSONEq(t, string(saved[0].Canary.Judge.Known), string(saved[1].Canary.Judge.Known))
}

func TestADirectoryKeepsWhatWasSavedLast(t *testing.T) {
	s := DirStore(t.TempDir())
	data, err := s.Load(t.Context(), "d/1")
	require.NoError(t, err)
	assert.Nil(t, data)
	for _, text := range []string{"one", "two"} {
		require.NoError(t, s.Save(t.Context(), "d/1", []byte(text)))
		data, err := s.Load(t.Context(), "d/1")
		require.NoError(t, err)
		assert.Equal(t, text, string(data))
	}
	assert.ErrorContains(t, DirStore("/nowhere").Save(t.Context(), "d", nil), "save state of deployment")
}
