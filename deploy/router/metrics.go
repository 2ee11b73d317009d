package router

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// MetricsType is the content type of WriteMetrics: the Prometheus text exposition format, version 0.0.4
// (prometheus.io/docs/instrumenting/exposition_formats).
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// bounds of the latency histogram, in seconds.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// totals is what was counted under a slot's name since the router started. Instances come and go; a counter that Prometheus
// reads only grows.
type totals struct {
	classes [len(classes)]atomic.Int64
	buckets [len(bounds) + 1]atomic.Int64
	micros  atomic.Int64 // sum of latencies
}

func (t *totals) count(class uint8, latency bool, took time.Duration) {
	t.classes[class].Add(1)
	if !latency {
		return
	}
	seconds, bucket := took.Seconds(), 0
	for bucket < len(bounds) && seconds > bounds[bucket] {
		bucket++
	}
	t.buckets[bucket].Add(1)
	t.micros.Add(took.Microseconds())
}

// totalsOf is the counters of a slot's name. A router knows few names.
func (r *Router) totalsOf(name deploy.Slot) *totals {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	if r.totals[name] == nil {
		r.totals[name] = &totals{}
	}
	return r.totals[name]
}

// exposed is the counter of an experiment's variant.
func (r *Router) exposed(experiment, variant string) *exposure {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	key := experiment + "=" + variant
	if r.exposures[key] == nil {
		r.exposures[key] = &exposure{}
	}
	return r.exposures[key]
}

// forget drops the exposures of experiments that are over.
func (r *Router) forget(routing Routing) {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	keep := map[string]bool{}
	for _, e := range routing.Experiments {
		for _, v := range e.Variants {
			keep[e.Name+"="+v.Name] = true
		}
	}
	maps.DeleteFunc(r.exposures, func(key string, _ *exposure) bool { return !keep[key] })
}

// Metrics is an http.Handler that answers with WriteMetrics.
func (r *Router) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", MetricsType)
		_ = r.WriteMetrics(w) // the client is gone
	})
}

// WriteMetrics writes the router's metrics in the format of MetricsType.
func (r *Router) WriteMetrics(to io.Writer) error {
	w := exposition{bufio.NewWriter(to)}
	status := r.Stats()
	r.countersMu.Lock()
	all := maps.Clone(r.totals)
	r.countersMu.Unlock()
	names := slices.Sorted(maps.Keys(all))

	w.family("requests_total", "counter", "Requests that ended, by whose doing it was.")
	for _, name := range names {
		for i, class := range classes {
			w.line("requests_total", all[name].classes[i].Load(), "slot", string(name), "class", string(class))
		}
	}
	w.family("request_seconds", "histogram", "Time until the application's answer was through, of answers in full; streams left out.")
	for _, name := range names {
		t, sum := all[name], int64(0)
		for i, bound := range bounds {
			sum += t.buckets[i].Load()
			w.line("request_seconds_bucket", sum, "slot", string(name), "le", strconv.FormatFloat(bound, 'g', -1, 64))
		}
		sum += t.buckets[len(bounds)].Load()
		w.line("request_seconds_bucket", sum, "slot", string(name), "le", "+Inf")
		w.line("request_seconds_sum", float64(t.micros.Load())/1e6, "slot", string(name))
		w.line("request_seconds_count", sum, "slot", string(name))
	}
	w.slots(status.Slots)
	w.family("held_requests", "gauge", "Requests that wait for the end of a pause.")
	w.line("held_requests", status.Held)
	w.family("cohorts_issued_total", "counter", "Clients that were given a cohort.")
	w.line("cohorts_issued_total", r.issued.Load())
	w.family("experiment_cohorts", "gauge", "Cohorts that saw a variant, each counted once.")
	for _, e := range status.Experiments {
		for _, v := range e.Variants {
			w.line("experiment_cohorts", v.Cohorts, "experiment", e.Name, "variant", v.Name)
		}
	}
	w.family("experiment_requests_total", "counter", "Requests of an experiment.")
	for _, e := range status.Experiments {
		for _, v := range e.Variants {
			w.line("experiment_requests_total", v.Requests, "experiment", e.Name, "variant", v.Name)
		}
	}
	if m := status.Mirror; m != nil {
		w.family("mirrored_total", "counter", "Copies of requests, by how the two answers compared.")
		w.line("mirrored_total", m.Same, "result", "same")
		w.line("mirrored_total", m.Different, "result", "different")
		w.line("mirrored_total", m.Dropped, "result", "dropped")
		w.line("mirrored_total", m.Failed, "result", "failed")
	}
	w.family("access_log_dropped_total", "counter", "Lines of the access log that were not written.")
	w.line("access_log_dropped_total", status.AccessDropped)
	return w.Flush()
}

// exposition writes the text format.
type exposition struct{ *bufio.Writer }

const metricPrefix = "pipeline_router_"

func (w exposition) family(name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s%s %s\n# TYPE %s%s %s\n", metricPrefix, name, help, metricPrefix, name, kind)
}

// labelValue escapes what the format escapes.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (w exposition) line(name string, value any, labels ...string) {
	w.WriteString(metricPrefix)
	w.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		w.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		w.WriteString(labels[i] + `="` + labelValue.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		w.WriteByte('}')
	}
	fmt.Fprintf(w, " %v\n", value)
}

func (w exposition) slots(slots []SlotStatus) {
	for _, g := range []struct {
		name, help string
		value      func(SlotStatus) int
	}{
		{"weight_percent", "Share of new requests.", func(s SlotStatus) int { return s.Weight }},
		{"in_flight_requests", "Requests in flight.", func(s SlotStatus) int { return s.InFlight }},
		{"open_websockets", "WebSockets and other upgraded connections.", func(s SlotStatus) int { return s.WebSockets }},
		{"open_event_streams", "Streams of server-sent events.", func(s SlotStatus) int { return s.Events }},
	} {
		w.family(g.name, "gauge", g.help)
		for _, s := range slots {
			w.line(g.name, g.value(s), "slot", string(s.Slot))
		}
	}
	w.family("release_info", "gauge", "The release in a slot.")
	for _, s := range slots {
		w.line("release_info", 1, "slot", string(s.Slot), "release", s.Release)
	}
}
