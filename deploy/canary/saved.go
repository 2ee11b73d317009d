package canary

import (
	"encoding/json"
	"errors"
	"fmt"
)

// savedCanary is a Canary in JSON.
type savedCanary struct {
	Plan  Plan     `json:"plan"`
	State position `json:"state"`
	Judge *Judge   `json:"judge"`
}

// MarshalJSON writes the plan, the position and all that was observed.
func (c *Canary) MarshalJSON() ([]byte, error) {
	return json.Marshal(savedCanary{c.plan, c.state, c.judge})
}

// UnmarshalJSON reads what MarshalJSON wrote. The error says what nothing that was saved contains.
func (c *Canary) UnmarshalJSON(data []byte) error {
	var s savedCanary
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("read canary: %w", err)
	}
	if err := s.Plan.check(); err != nil {
		return fmt.Errorf("read canary: %w", err)
	}
	if s.Judge == nil || len(s.Plan.Steps) == 0 || s.State.Step < 0 || s.State.Step > len(s.Plan.Steps) {
		return errors.New("read canary: there is no such step, or nothing that was observed")
	}
	switch s.State.Ended {
	case "", Finish, RollBack:
	default:
		return fmt.Errorf("read canary: %q is no end", s.State.Ended)
	}
	c.plan, c.state, c.judge = s.Plan, s.State, s.Judge
	return nil
}

// savedJudge is a Judge in JSON.
type savedJudge struct {
	Options Options `json:"options"`
	Known   known   `json:"known"`
}

// MarshalJSON writes all that the judge knows.
func (j *Judge) MarshalJSON() ([]byte, error) {
	return json.Marshal(savedJudge{j.options, j.state})
}

// UnmarshalJSON reads what MarshalJSON wrote. The error says what nothing that was saved contains.
func (j *Judge) UnmarshalJSON(data []byte) error {
	s := savedJudge{Known: NewJudge(Options{}).state}
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("read judge: %w", err)
	}
	if err := errors.Join(s.Options.check(), s.Known.check()); err != nil {
		return fmt.Errorf("read judge: %w", err)
	}
	j.options, j.state = s.Options, s.Known
	return nil
}

func (k *known) check() error {
	processes := []*Process{&k.Failures, &k.Latency.Process, &k.ClientErrors.Process}
	for name, s := range k.Strata {
		if s == nil || s.Order < 1 || s.Order > mostStrata {
			return fmt.Errorf("stratum %q has no place in the order", name)
		}
		processes = append(processes, &s.Process)
	}
	for name, p := range k.Metrics {
		if p == nil {
			return fmt.Errorf("metric %q is empty", name)
		}
		processes = append(processes, p)
	}
	for _, p := range processes {
		if err := p.check(); err != nil {
			return err
		}
	}
	for route, t := range k.Thresholds {
		if t == nil || len(t.Last) > kept || t.Next < 0 || t.Next >= kept {
			return fmt.Errorf("latencies of route %q are more than are kept", route)
		}
	}
	for _, d := range []distinct{k.Seen[0], k.Seen[1], k.InStep, k.Synthetic} {
		if d.Halved < 0 || d.Halved > 40 || len(d.Kept) > mostKept {
			return errors.New("a set of cohorts is larger than what is kept")
		}
	}
	return nil
}

// mostEvents keeps sums of counts exact as floating point numbers.
const mostEvents = 1 << 48

func (s *Process) check() error {
	last := 0.0
	for _, t := range s.Tallies {
		if !(t.P > last && t.P < 1) || t.Hits < 0 || t.Misses < 0 || t.Hits > mostEvents || t.Misses > mostEvents {
			return fmt.Errorf("events with probability %v, %d and %d, cannot have been counted", t.P, t.Hits, t.Misses)
		}
		last = t.P
	}
	return nil
}
