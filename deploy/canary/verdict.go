package canary

import (
	"fmt"
	"math"
)

// Word is a verdict in one word.
type Word string

// The verdicts.
const (
	Rollback     Word = "ROLLBACK"
	Promote      Word = "PROMOTE"
	Inconclusive Word = "INCONCLUSIVE"
)

// Need is what a promotion needs.
type Need struct {
	Exposure int // distinct users on the canary since the step began
	// MaxExcess is how much greater than stable's the share of users who meet a failure may be, as far as can be excluded.
	MaxExcess float64
}

// Verdict is what a judge thinks, with reasons.
type Verdict struct {
	Is       Word       `json:"is"`
	Reasons  []string   `json:"reasons"`
	Evidence []Evidence `json:"evidence"`

	Exposed   int    `json:"exposed"` // distinct users on the canary since the step began
	Needed    int    `json:"needed"`
	Users     [2]int `json:"users"`               // distinct users since the beginning: stable, canary
	Failed    [2]int `json:"failed"`              // of them, who met a failure
	Synthetic int    `json:"synthetic,omitempty"` // of the canary's, who were the pipeline's own
	// MaxFailing bounds the share of the canary's users who meet a failure, MinStable that of stable's from below.
	MaxFailing float64 `json:"max_failing"`
	MinStable  float64 `json:"min_stable"`
	// MaxRatio bounds the odds of a failure on the canary in terms of stable's; 0 while there is no bound.
	MaxRatio float64 `json:"max_ratio,omitempty"`

	suspicious bool
	lacking    int // users on the canary
}

// Verdict is what the observations so far say. ROLLBACK when any evidence ever was enough; PROMOTE when enough users were
// exposed, nothing is suspicious, every metric of the application was measured, and the excess of failing users or the
// ratio of their odds is bounded well enough; INCONCLUSIVE otherwise, and always while nothing was seen.
func (j *Judge) Verdict(need Need) Verdict {
	s, delta := &j.state, 1-j.options.Confidence
	v := Verdict{Is: Inconclusive, Evidence: j.all(), Exposed: s.InStep.count(), Needed: max(need.Exposure, 1), Synthetic: s.Synthetic.count()}
	for slot := range v.Users {
		v.Users[slot], v.Failed[slot] = s.Seen[slot].count(), len(s.Failed[slot])
	}
	// Half of delta for each of the two bounds whose difference counts, so that both hold at once with the confidence.
	v.MaxFailing = UpperShare(v.Failed[1], v.Users[1], delta/2)
	v.MinStable = LowerShare(v.Failed[0], v.Users[0], delta/2)
	if ratio := s.Failures.UpperRatio(delta); !math.IsInf(ratio, 1) {
		v.MaxRatio = ratio
	}

	if s.Crossed != nil {
		v.Is, v.suspicious = Rollback, true
		v.Reasons = append([]string{s.Crossed.Text}, j.notes(v)...)
		return v
	}
	var open []string
	for _, e := range v.Evidence {
		if e.suspicious() {
			if e.stratum && v.suspicious {
				continue // what all failures together say needs not be said by each
			}
			v.suspicious = true
			open = append(open, "suspected, not proven: "+e.Text)
		}
	}
	if v.Exposed < v.Needed {
		v.lacking = v.Needed - v.Exposed
		open = append(open, fmt.Sprintf("%d of the %d users that this step needs were on the canary", v.Exposed, v.Needed))
	}
	excess := v.MaxFailing - v.MinStable
	bounded := excess <= need.MaxExcess || v.MaxRatio > 0 && v.MaxRatio <= j.options.MaxRatio
	if !bounded {
		open = append(open, j.unbounded(v, need))
		if v.Failed[1] == 0 {
			v.lacking = max(v.lacking, UsersToExclude(need.MaxExcess+v.MinStable, delta/2)-v.Users[1])
		}
	}
	for _, m := range j.options.Metrics {
		if _, measured := s.Metrics[m.Name]; !measured {
			open = append(open, m.Name+" was never measured")
		}
	}
	if len(open) > 0 {
		v.Reasons = append(open, j.notes(v)...)
		return v
	}
	v.Is = Promote
	v.Reasons = append([]string{j.bounded(v, excess, need)}, j.notes(v)...)
	return v
}

func (j *Judge) unbounded(v Verdict, need Need) string {
	if v.Failed[1] == 0 {
		return fmt.Sprintf("too few to see less than %s: none of %d users on the canary saw an error (rule of three, at the price of looking always); %s more than on the stable release are allowed",
			percent(v.MaxFailing), v.Users[1], percent(need.MaxExcess))
	}
	return fmt.Sprintf("too few to exclude a worse release: %d of %d users on the canary saw an error, so up to %s may, and of the stable release's users %s or more do; %s more are allowed",
		v.Failed[1], v.Users[1], percent(v.MaxFailing), percent(v.MinStable), percent(need.MaxExcess))
}

func (j *Judge) bounded(v Verdict, excess float64, need Need) string {
	sure := percent(j.options.Confidence) + " sure"
	if excess <= need.MaxExcess {
		return fmt.Sprintf("%d of %d users on the canary saw an error, %d of %d on the stable release: at most %s more would (%s), %s are allowed",
			v.Failed[1], v.Users[1], v.Failed[0], v.Users[0], percent(max(excess, 0)), sure, percent(need.MaxExcess))
	}
	e := j.failures()
	return fmt.Sprintf("%d of %d users who saw an error were on the canary, which has %s of the users: the odds of an error are at most %.2g times those on the stable release (%s), %.2g times are allowed",
		e.Bad, e.Of, percents(e.Low, e.High), v.MaxRatio, sure, j.options.MaxRatio)
}

// notes are what should be known and decides nothing.
func (j *Judge) notes(v Verdict) []string {
	var notes []string
	client := evidence("client errors", j.options.Alpha, &j.state.ClientErrors.Process, landed("got a 4xx answer"))
	if client.E >= 1/client.Alpha {
		notes = append(notes, "not counted, because it may be meant: "+client.Text)
	}
	compared := false
	for _, t := range j.state.Thresholds {
		compared = compared || t.value() > 0
	}
	if !compared {
		notes = append(notes, fmt.Sprintf("latency was not compared: no route had %d answers from the stable release", estimateFrom))
	}
	if v.Synthetic > 0 {
		notes = append(notes, fmt.Sprintf("%d of the %d users on the canary were the pipeline's own", v.Synthetic, v.Users[1]))
	}
	return notes
}

// missing is how many users, sent through the router, would bring those on the canary that a promotion lacks.
func (v Verdict) missing(percent int) int {
	if percent <= 0 {
		return 0
	}
	return (v.lacking*100 + percent - 1) / percent
}

// RolledBack says whether the verdict is ROLLBACK, without the work of finding reasons.
func (j *Judge) RolledBack() bool { return j.state.Crossed != nil }
