package canary

import (
	"fmt"
	"time"
)

// Observation is a request that ended.
type Observation struct {
	At     time.Time // when it was routed
	Cohort string    // the id by which the router drew the slot; without one it does not count
	Route  string    // a pattern, not the path: "GET /users/{id}"; each has its own threshold for slowness
	Canary bool
	// Share is the canary's share of the users, in (0, 1), when it was routed.
	Share   float64
	Outcome Outcome
	Latency time.Duration // of the whole answer
	// Pinned requests were sent to their slot by a segment rule or by hand, not by a draw. They do not count.
	Pinned bool
	// Synthetic requests were sent by the pipeline. They count if Options.Synthetic declares them.
	Synthetic bool
}

// Outcome is how a request ended.
type Outcome int

// The outcomes.
const (
	OK          Outcome = iota
	ClientError         // 4xx: reported, but new validation is no failure
	AppError            // 5xx by the application
	Gateway             // 502 by the router
	Timeout             // 504 by the router
	Truncated           // the application broke off within an answer
	Aborted             // the client went away: nobody's failure, and no success
)

func (o Outcome) failed() bool {
	return o == AppError || o == Gateway || o == Timeout || o == Truncated
}

func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case ClientError:
		return "4xx"
	case AppError:
		return "5xx"
	case Gateway:
		return "bad gateway"
	case Timeout:
		return "timeout"
	case Truncated:
		return "broken off"
	case Aborted:
		return "aborted"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Metric is something of the application's own, measured by a query that somebody else runs.
type Metric struct {
	Name string `json:"name"`
	// Kind says which of Pair and Check the metric takes.
	Kind MetricKind `json:"kind"`
	// LowerIsWorse is of Pairs: orders placed, unlike milliseconds, are better when there are more.
	LowerIsWorse bool `json:"lower_is_worse,omitempty"`
	// AllowedFailures is of Checks: the share that fails of a release that is good; .05 by default.
	AllowedFailures float64 `json:"allowed_failures,omitempty"`
}

// MetricKind is how a metric is compared.
type MetricKind string

// The kinds of metrics.
const (
	// Pairs are the same statistic of both slots over the same time. If the canary is as good, each is the worse one as often
	// as not: a sign test, in which ties do not count. The statistic must not depend on how much traffic a slot has (a median
	// or a rate, no total), and one pair must not say what the next will be: leave time between them.
	Pairs MetricKind = "pairs"
	// Checks are passed or failed by the canary alone.
	Checks MetricKind = "checks"
)

const defaultAllowedFailures = .05
