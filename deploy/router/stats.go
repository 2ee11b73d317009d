package router

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// Status is the router as it is now.
type Status struct {
	Paused bool         `json:"paused"`
	Held   int          `json:"held"` // requests waiting for the pause to end
	Slots  []SlotStatus `json:"slots"`
}

// SlotStatus is one slot's share and what was counted there since it was registered. Whose fault an error is differs, so
// each kind is its own counter: one sum would blame a release for clients that went away.
type SlotStatus struct {
	Slot      deploy.Slot `json:"slot"`
	Release   string      `json:"release"`
	Weight    int         `json:"weight"`
	InFlight  int         `json:"in_flight"`
	Requests  int64       `json:"requests"`   // ended, however; without unrouted ones
	AppErrors int64       `json:"app_errors"` // the application answered 5xx
	Gateway   int64       `json:"gateway"`    // the router answered 502
	Timeouts  int64       `json:"timeouts"`   // the router answered 504
	Truncated int64       `json:"truncated"`  // the application broke off within an answer
	Aborted   int64       `json:"aborted"`    // the client went away (499)
	Unrouted  int64       `json:"unrouted"`   // no component serves the path (404)
	// Latency of the last requests that the application answered in full, in milliseconds; WebSockets left out.
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
}

// Stats is a snapshot of the router.
func (r *Router) Stats() Status {
	status := Status{Slots: []SlotStatus{}}
	status.Paused, status.Held = r.gate.status()
	for _, e := range r.current().entries {
		status.Slots = append(status.Slots, e.slot.status(e.weight))
	}
	return status
}

// Latencies is the last latencies of a slot, unordered: raw, so that whoever compares two slots may choose the statistic.
func (r *Router) Latencies(name deploy.Slot) []time.Duration {
	e, ok := r.current().find(name)
	if !ok {
		return nil
	}
	return e.slot.counts.latencies.snapshot()
}

func (s *slot) status(weight int) SlotStatus {
	latencies := s.counts.latencies.snapshot()
	slices.Sort(latencies)
	at := func(quantile float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(quantile*float64(len(latencies)-1))].Seconds() * 1000
	}
	return SlotStatus{
		Slot: s.name, Release: s.instance.Release, Weight: weight, InFlight: s.flight.count(),
		Requests: s.counts.requests.Load(), AppErrors: s.counts.appErrors.Load(), Gateway: s.counts.gateway.Load(),
		Timeouts: s.counts.timeouts.Load(), Truncated: s.counts.truncated.Load(), Aborted: s.counts.aborted.Load(),
		Unrouted: s.counts.unrouted.Load(), P50: at(.50), P95: at(.95), P99: at(.99),
	}
}

// outcome is how a request ended.
type outcome int

const (
	answered       outcome = iota // by the application, whatever the status
	badGateway                    // 502 by the router
	gatewayTimeout                // 504 by the router
	truncated
	clientAborted
)

type counts struct {
	requests, appErrors, gateway, timeouts, truncated, aborted, unrouted atomic.Int64

	latencies ring
}

func (c *counts) ended(outcome outcome, status int, took time.Duration) {
	c.requests.Add(1)
	switch outcome {
	case answered:
		if status >= http.StatusInternalServerError {
			c.appErrors.Add(1)
		}
		if status != http.StatusSwitchingProtocols {
			c.latencies.add(took)
		}
	case badGateway:
		c.gateway.Add(1)
	case gatewayTimeout:
		c.timeouts.Add(1)
	case truncated:
		c.truncated.Add(1)
	case clientAborted:
		c.aborted.Add(1)
	}
}

// ringSize is enough for a p99 out of 40 samples beyond it.
const ringSize = 4096

// ring keeps the last latencies.
type ring struct {
	mu      sync.Mutex
	samples []time.Duration
	next    int
}

func (r *ring) add(sample time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.samples) < ringSize {
		r.samples = append(r.samples, sample)
		return
	}
	r.samples[r.next] = sample
	r.next = (r.next + 1) % ringSize
}

func (r *ring) snapshot() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.samples)
}
