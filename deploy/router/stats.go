package router

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// Status is the router as it is now.
type Status struct {
	Paused      bool               `json:"paused"`
	Held        int                `json:"held"`               // requests waiting for the pause to end
	Retiring    bool               `json:"retiring,omitempty"` // another process took over
	Slots       []SlotStatus       `json:"slots"`
	Rules       []RuleStatus       `json:"rules,omitempty"`
	Experiments []ExperimentStatus `json:"experiments,omitempty"`
	Mirror      *MirrorStatus      `json:"mirror,omitempty"`
	// AccessDropped is how many lines of the access log were not written because the disk was too slow.
	AccessDropped int64 `json:"access_dropped,omitempty"`
}

// SlotStatus is one slot's share and what was counted there since it was registered. Whose fault an error is differs, so
// each kind is its own counter: one sum would blame a release for clients that went away.
type SlotStatus struct {
	Slot      deploy.Slot `json:"slot"`
	Release   string      `json:"release"`
	Weight    int         `json:"weight"`
	Draining  bool        `json:"draining,omitempty"` // rules and experiments lead past it
	InFlight  int         `json:"in_flight"`
	Requests  int64       `json:"requests"`   // ended, however; without unrouted ones
	AppErrors int64       `json:"app_errors"` // the application answered 5xx
	Gateway   int64       `json:"gateway"`    // the router answered 502
	Timeouts  int64       `json:"timeouts"`   // the router answered 504
	Truncated int64       `json:"truncated"`  // the application broke off within an answer
	Aborted   int64       `json:"aborted"`    // the client went away (499)
	Refused   int64       `json:"refused"`    // the client's body was too large or too slow (413, 408)
	Unrouted  int64       `json:"unrouted"`   // no component serves the path (404)
	ByRule    int64       `json:"by_rule"`    // of Requests: sent here by a rule or an experiment, not by the weights
	Excluded  int64       `json:"excluded"`   // health checks and the like, in none of the other counters
	// WebSockets and Events are open now; Cut is how many of both drains ended.
	WebSockets int   `json:"websockets"`
	Events     int   `json:"events"`
	Cut        int64 `json:"cut"`
	// Latency of the last requests that the application answered in full, in milliseconds; WebSockets left out.
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
}

// RuleStatus is whether a rule leads anywhere now.
type RuleStatus struct {
	Name   string `json:"name"`
	Active bool   `json:"active"` // its slot is registered and not being drained
}

// ExperimentStatus is an experiment's exposures.
type ExperimentStatus struct {
	Name     string          `json:"name"`
	Variants []VariantStatus `json:"variants"`
}

// VariantStatus is who saw a variant since the router started.
type VariantStatus struct {
	Name     string `json:"name"`
	Cohorts  int    `json:"cohorts"`            // each counted once
	AtLeast  bool   `json:"at_least,omitempty"` // there were more than can be told apart
	Requests int64  `json:"requests"`
}

// Stats is a snapshot of the router.
func (r *Router) Stats() Status {
	status := Status{Slots: []SlotStatus{}, Held: int(r.held.Load()), Retiring: r.retiring.Load()}
	r.mu.RLock()
	now := r.table
	status.Paused = r.pause != nil
	r.mu.RUnlock()
	for _, e := range now.entries {
		status.Slots = append(status.Slots, e.status())
	}
	for i := range now.rules {
		status.Rules = append(status.Rules, RuleStatus{Name: now.rules[i].Name, Active: now.rules[i].active()})
	}
	for _, experiment := range now.routing.Experiments {
		one := ExperimentStatus{Name: experiment.Name}
		for _, variant := range experiment.Variants {
			v := VariantStatus{Name: variant.Name}
			v.Cohorts, v.AtLeast, v.Requests = r.exposed(experiment.Name, variant.Name).status()
			one.Variants = append(one.Variants, v)
		}
		status.Experiments = append(status.Experiments, one)
	}
	if now.mirror != nil {
		status.Mirror = now.mirror.status()
	}
	if r.access != nil {
		status.AccessDropped = r.access.dropped.Load()
	}
	return status
}

// latest is how many of a slot's last requests its percentiles are taken from: enough for a p99 out of 40 samples beyond it.
const latest = 4096

// Latencies is the last latencies of a slot, unordered: raw, so that whoever compares two slots may choose the statistic.
func (r *Router) Latencies(name deploy.Slot) []time.Duration {
	e, ok := r.current().find(name)
	if !ok {
		return nil
	}
	return e.slot.records.latest(latest)
}

func (e entry) status() SlotStatus {
	s := e.slot
	latencies := s.records.latest(latest)
	slices.Sort(latencies)
	at := func(quantile float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(quantile*float64(len(latencies)-1))].Seconds() * 1000
	}
	open, cut := s.streams.status()
	c := &s.counts
	return SlotStatus{
		Slot: s.name, Release: s.instance.Release, Weight: e.weight, Draining: e.draining, InFlight: s.flight.count(),
		Requests: c.requests.Load(), AppErrors: c.appErrors.Load(), Gateway: c.gateway.Load(),
		Timeouts: c.timeouts.Load(), Truncated: c.truncated.Load(), Aborted: c.aborted.Load(), Refused: c.refused.Load(),
		Unrouted: c.unrouted.Load(), ByRule: c.byRule.Load(), Excluded: c.excluded.Load(),
		WebSockets: open[upgraded], Events: open[events], Cut: cut[upgraded] + cut[events],
		P50: at(.50), P95: at(.95), P99: at(.99),
	}
}

// outcome is how a request ended.
type outcome uint8

const (
	answered       outcome = iota // by the application, whatever the status
	badGateway                    // 502 by the router
	gatewayTimeout                // 504 by the router
	truncated
	clientAborted
	refused // 413 or 408 by the router
)

type counts struct {
	requests, appErrors, gateway, timeouts, truncated, aborted, refused, unrouted, byRule, excluded atomic.Int64
}

// count counts a request and says whose doing its end was, as an index into classes.
func (c *counts) count(outcome outcome, status int) (class uint8) {
	c.requests.Add(1)
	switch outcome {
	case answered:
		if status < http.StatusInternalServerError {
			return 0
		}
		c.appErrors.Add(1)
		return 1
	case truncated:
		c.truncated.Add(1)
		return 1
	case badGateway:
		c.gateway.Add(1)
		return 2
	case gatewayTimeout:
		c.timeouts.Add(1)
		return 2
	case clientAborted:
		c.aborted.Add(1)
	case refused:
		c.refused.Add(1)
	}
	return 3
}

// ended counts a request that ended, wherever it is counted.
func (r *Router) ended(x *exchange, took time.Duration) {
	s := x.slot
	if r.access != nil {
		r.access.add(x, took)
	}
	if r.excludes(x.request.URL.Path) {
		s.counts.excluded.Add(1)
		return
	}
	class := s.counts.count(x.outcome, x.status)
	if x.choice.by != ByChance {
		s.counts.byRule.Add(1)
	}
	full := x.outcome == answered && x.kind == brief
	s.totals.count(class, full, took)
	first := x.first
	if first == 0 {
		first = took
	}
	one := sample{
		at: x.started.UnixNano(), cohort: x.choice.cohort, first: micros(first), end: micros(took),
		route: r.routes.of(x.request.Method, x.request.URL.Path), status: uint16(x.status), class: class,
		weight: uint8(x.choice.weight), by: x.choice.by, streamed: x.kind != brief, full: full,
	}
	if x.choice.rule != "" {
		l := &labels{rule: x.choice.rule}
		if x.choice.variant != nil {
			l.variant = x.choice.variant.label
		}
		one.choice = l
	}
	s.records.add(one)
	if x.capture != nil && full {
		x.capture.compare(x)
	}
}

func micros(d time.Duration) uint32 { return uint32(min(max(d.Microseconds(), 0), 1<<32-1)) }
