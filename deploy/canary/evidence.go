package canary

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Evidence is what one process says.
type Evidence struct {
	Name  string  `json:"name"`
	Alpha float64 `json:"alpha"` // its part of Options.Alpha
	E     float64 `json:"e"`     // enough at 1/Alpha
	Bad   int     `json:"bad"`   // events that landed on the canary
	Of    int     `json:"of"`
	// Low and High are the least and greatest probability, by the claim that the canary is as good, that an event was bad.
	Low  float64 `json:"low"`
	High float64 `json:"high"`

	Text string `json:"text"`

	stratum bool
}

// suspicious is evidence against which nobody should promote: as improbable as the square root of what is enough.
func (e Evidence) suspicious() bool { return e.E >= 1/math.Sqrt(e.Alpha) }

// Alpha is split: half for all failures together, which is what most broken releases show first; the rest in equal parts
// for failures by route, for latency, and for the application's own metrics, if it has any.
const failuresPart = .5

func (j *Judge) part() float64 {
	others := 2.
	if len(j.options.Metrics) > 0 {
		others = 3
	}
	return j.options.Alpha * (1 - failuresPart) / others
}

func evidence(name string, alpha float64, p *Process, text func(e Evidence) string) Evidence {
	e := Evidence{Name: name, Alpha: alpha, E: p.E()}
	hits, misses := p.Count()
	e.Bad, e.Of = hits, hits+misses
	e.Low, e.High = p.shares()
	e.Text = text(e)
	return e
}

// landed is the text for events that landed on one of the slots.
func landed(what string) func(Evidence) string {
	return func(e Evidence) string {
		return fmt.Sprintf("%d of %d users who %s were on the canary, which has %s of the users: %s if it were as good as the stable release",
			e.Bad, e.Of, what, percents(e.Low, e.High), odds(e.E))
	}
}

func (j *Judge) failures() Evidence {
	return evidence("failures", j.options.Alpha*failuresPart, &j.state.Failures, landed("saw an error"))
}

// stratumPart is that of the k-th route and kind that failed, 1/k(k+1), which add up to 1. That failures give the order
// spoils nothing: if the canary is as good, when and where users fail has nothing to do with the slots they were drawn.
func (j *Judge) stratumPart(s *stratum) float64 {
	k := float64(s.Order)
	return j.part() / (k * (k + 1))
}

func (j *Judge) stratum(s *stratum) Evidence {
	return evidence("failures of "+s.Route+" ("+s.Kind+")", j.stratumPart(s), &s.Process, landed("saw "+s.Kind+" on "+s.Route))
}

func (j *Judge) slowness() Evidence {
	return evidence("latency", j.part(), &j.state.Latency.Process, landed("waited longer than 95 % do on the stable release"))
}

func (j *Judge) customPart() float64 { return j.part() / float64(len(j.options.Metrics)) }

func (j *Judge) custom(m Metric) Evidence {
	measured := j.state.Metrics[m.Name]
	if measured == nil {
		measured = &Process{}
	}
	return evidence(m.Name, j.customPart(), measured, func(e Evidence) string {
		if m.Kind == Checks {
			return fmt.Sprintf("%s: %d of %d checks failed, %s may: %s if it were good", m.Name, e.Bad, e.Of, percent(m.AllowedFailures), odds(e.E))
		}
		return fmt.Sprintf("%s: the canary was the worse one in %d of %d pairs: %s if it were as good as the stable release", m.Name, e.Bad, e.Of, odds(e.E))
	})
}

// all is every process that can decide, in a fixed order.
func (j *Judge) all() []Evidence {
	found := []Evidence{j.failures(), j.slowness()}
	for _, s := range j.strata() {
		e := j.stratum(s)
		e.stratum = true
		found = append(found, e)
	}
	for _, m := range j.options.Metrics {
		found = append(found, j.custom(m))
	}
	return found
}

func (j *Judge) strata() []*stratum {
	var sorted []*stratum
	for _, s := range j.state.Strata {
		sorted = append(sorted, s)
	}
	slices.SortFunc(sorted, func(a, b *stratum) int { return a.Order - b.Order })
	return sorted
}

// odds is E as people say it: by Ville's inequality it is this improbable that E would ever get so far.
func odds(e float64) string {
	if e < 2 {
		return "nothing unusual"
	}
	return "odds of 1 in " + thousands(e)
}

// thousands is a number with two digits that count, rounded down: 40,000.
func thousands(x float64) string {
	if x > 1e9 {
		return "more than a billion"
	}
	unit := math.Pow(10, max(0, math.Floor(math.Log10(x))-1))
	digits := strconv.Itoa(int(math.Floor(x/unit) * unit))
	var out strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(digit)
	}
	return out.String()
}

// percent is a share with two digits that count: 2.3 %.
func percent(share float64) string {
	return strconv.FormatFloat(significant(share*100), 'f', -1, 64) + " %"
}

func percents(low, high float64) string {
	if low == high {
		return percent(low)
	}
	return strings.TrimSuffix(percent(low), " %") + " to " + percent(high)
}

// significant rounds to two digits, or to whole numbers above 100.
func significant(x float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 2, 64), 64)
	if err != nil || x >= 99.5 {
		return math.Round(x)
	}
	return rounded
}
