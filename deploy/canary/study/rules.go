package study

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
)

// Rule is a way to decide.
type Rule int

// The rules.
const (
	Ours       Rule = iota
	Flagger         // success below 99 %, or p99 above 500 ms, in 5 intervals of a minute; no request is a failure, too
	Argo            // success below 95 % in an interval of 5 minutes; failureLimit 0
	Fisher          // p < .05, one-sided, each minute
	Beta            // P(canary fails more) > .95 with uniform priors, each minute
	Kayenta         // Mann-Whitney on points of a minute, at 50, 60, 70 and 80 of them
	ruleNumber = iota
)

func (r Rule) String() string {
	return [...]string{"ours", "Flagger", "Argo", "Fisher", "Beta-binomial", "Kayenta"}[r]
}

// The intervals of the rules, in seconds and so in requests.
const (
	minute      = 60
	fiveMinutes = 5 * minute
)

// judged is a run of all rules.
type judged struct {
	cell   Cell
	random *rand.Rand
	caught [ruleNumber]caught
	open   int // rules that have not rolled back

	ours *canary.Judge

	bad, all     [2]int // by slot: failed (or slow) requests, requests
	badUsers     int    // on the canary
	met          map[int]struct{}
	window       windows
	flaggerFails int
	points       [2][]float64 // of Kayenta: by minute
}

type caught struct {
	yes      bool
	requests int
	badUsers int
}

// windows are counts on the canary, or by slot, since an interval began.
type windows struct {
	bad, all   int // of a minute
	bad5, all5 int // of five
	latencies  []time.Duration
	sum, count [2]float64
}

func (j *judged) mark(rule Rule, requests int) {
	if !j.caught[rule].yes {
		j.caught[rule] = caught{true, requests, j.badUsers}
		j.open--
	}
}

func (j *judged) observe(i int, r request) {
	slot := 0
	if r.canary {
		slot = 1
	}
	slowIsBad := j.cell.Slower > 0 && j.cell.Stable == 0
	bad := r.failed || slowIsBad && r.slow
	j.all[slot]++
	if bad {
		j.bad[slot]++
		if _, known := j.met[r.user]; r.canary && !known {
			j.met[r.user] = struct{}{}
			j.badUsers++
		}
	}
	value := 0.0
	if slowIsBad {
		value = r.latency.Seconds()
	} else if bad {
		value = 1
	}
	j.window.sum[slot] += value
	j.window.count[slot]++
	if r.canary {
		j.window.all++
		j.window.all5++
		if r.failed {
			j.window.bad++
			j.window.bad5++
		}
		if r.latency > 0 {
			j.window.latencies = append(j.window.latencies, r.latency)
		}
	}
	j.feed(i, r)
	if (i+1)%minute == 0 {
		j.everyMinute(i + 1)
	}
	if (i+1)%fiveMinutes == 0 {
		if j.window.all5 > 0 && success(j.window.bad5, j.window.all5) < .95 {
			j.mark(Argo, i+1)
		}
		j.window.bad5, j.window.all5 = 0, 0
	}
}

func success(bad, all int) float64 { return float64(all-bad) / float64(all) }

// feed gives our rule the request. A good answer without a latency enters no process, so those are left out.
func (j *judged) feed(i int, r request) {
	if j.caught[Ours].yes {
		return
	}
	if j.cell.Everything && (i+1)%minute == 0 {
		_ = j.ours.Pair("orders", j.random.Float64(), j.random.Float64())
		_ = j.ours.Check("balance", j.random.Float64() >= allowed)
	}
	if r.failed || r.client || r.latency > 0 {
		j.ours.Observe(observation(r))
	}
	if r.failed || r.latency > 0 {
		if j.ours.RolledBack() {
			j.mark(Ours, i+1)
		}
	}
}

const allowed = .05

func observation(r request) canary.Observation {
	o := canary.Observation{Cohort: names[r.user], Route: "GET /", Canary: r.canary, Share: r.share, Latency: r.latency}
	if r.rare {
		o.Route = "POST /orders"
	}
	switch {
	case r.failed:
		o.Outcome = canary.AppError
	case r.client:
		o.Outcome = canary.ClientError
	}
	return o
}

func (j *judged) everyMinute(requests int) {
	w := &j.window
	if !j.caught[Flagger].yes {
		slices.Sort(w.latencies)
		late := len(w.latencies) > 0 && w.latencies[int(math.Ceil(.99*float64(len(w.latencies))))-1] > 500*time.Millisecond
		if w.all == 0 || success(w.bad, w.all) < .99 || late {
			if j.flaggerFails++; j.flaggerFails == 5 {
				j.mark(Flagger, requests)
			}
		}
	}
	more := j.bad[1]*j.all[0] > j.bad[0]*j.all[1] // the canary fails more often: neither test can say so otherwise
	if more && !j.caught[Fisher].yes && fisher(j.bad[1], j.all[1], j.bad[0], j.all[0]) < .05 {
		j.mark(Fisher, requests)
	}
	if more && !j.caught[Beta].yes && betaGreater(j.bad[1], j.all[1], j.bad[0], j.all[0]) > .95 {
		j.mark(Beta, requests)
	}
	for slot := range j.points {
		if w.count[slot] > 0 {
			j.points[slot] = append(j.points[slot], w.sum[slot]/w.count[slot])
		}
	}
	if minutes := requests / minute; minutes >= 50 && minutes%10 == 0 && !j.caught[Kayenta].yes && kayentaHigh(j.points[1], j.points[0], j.random) {
		j.mark(Kayenta, requests)
	}
	*w = windows{bad5: w.bad5, all5: w.all5, latencies: w.latencies[:0]}
}
