package traffic

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci/report"
)

// Bounds of what a ledger keeps, however long the traffic goes on.
const (
	finestPoint = 250 * time.Millisecond
	maxPoints   = 2048 // of time; when there are more, each becomes twice as long
	maxSlots    = 8    // names come from a response header
	maxErrors   = 16   // kinds
	maxMarks    = 1000
	maxFailures = 10
	maxName     = 64
)

// other stands for what is beyond a bound.
const other = "other"

// Result is the account of the traffic.
type Result struct {
	report.Traffic
	// Unsent counts requests that were due but had no free client within a second: the rate was not reached. They were
	// not dropped, as nobody sent them.
	Unsent int
	Slots  map[string]Slot // by name; "" is for requests that nobody answered
	// Failures are the first ten.
	Failures []Failure
}

// Slot is what one slot answered.
type Slot struct {
	Requests      int
	Failed        int
	P50, P95, P99 float64   // milliseconds
	First, Last   time.Time // when the answer to its first and its last request had been read
}

// Failure is one failed request.
type Failure struct {
	At      float64 // seconds since the traffic began
	Request string
	Slot    string
	Kind    string // as counted in Errors
	Detail  string // error, or the beginning of the answer
}

// ledger takes samples and sums them up.
type ledger struct {
	mu       sync.Mutex
	clients  int
	begun    time.Time
	width    time.Duration // of a point
	all      histogram
	requests int
	failed   int
	left     int
	errors   map[string]int
	slots    map[string]*tally
	points   map[pointKey]*tally
	marks    []report.Mark
	failures []Failure
}

type pointKey struct {
	number int // of its interval
	slot   string
}

// tally sums up some samples.
type tally struct {
	latencies   histogram
	failed      int
	first, last time.Time
}

func newLedger(clients int) *ledger {
	return &ledger{
		clients: clients, width: finestPoint,
		errors: map[string]int{}, slots: map[string]*tally{}, points: map[pointKey]*tally{},
	}
}

func (l *ledger) begin(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = at
}

func (l *ledger) unsent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left++
}

func (l *ledger) mark(at time.Time, label string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.marks) < maxMarks {
		l.marks = append(l.marks, report.Mark{At: at.Sub(l.begun).Seconds(), Label: label})
	}
}

// add counts a sample. Its latency runs from when it was due to when its answer was read; it belongs to the interval in
// which it was due.
func (l *ledger) add(s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	latency := s.ended.Sub(s.due)
	l.requests++
	l.all.add(latency)
	slot := s.slot[:min(len(s.slot), maxName)]
	if _, known := l.slots[slot]; !known && len(l.slots) >= maxSlots {
		slot = other
	}
	number := int(s.due.Sub(l.begun) / l.width)
	for number >= maxPoints {
		l.widen()
		number = int(s.due.Sub(l.begun) / l.width)
	}
	for _, t := range []*tally{tallyOf(l.slots, slot), tallyOf(l.points, pointKey{number, slot})} {
		t.latencies.add(latency)
		if s.failure != "" {
			t.failed++
		}
		if t.first.IsZero() {
			t.first = s.ended
		}
		t.last = s.ended
	}
	if s.failure != "" {
		l.fail(s, slot)
	}
}

func (l *ledger) fail(s sample, slot string) {
	l.failed++
	kind := s.failure
	if _, known := l.errors[kind]; !known && len(l.errors) >= maxErrors {
		kind = other
	}
	l.errors[kind]++
	if len(l.failures) < maxFailures {
		l.failures = append(l.failures, Failure{
			At: s.due.Sub(l.begun).Seconds(), Request: s.request, Slot: slot, Kind: kind, Detail: s.detail,
		})
	}
}

func tallyOf[K comparable](tallies map[K]*tally, key K) *tally {
	t, ok := tallies[key]
	if !ok {
		t = &tally{}
		tallies[key] = t
	}
	return t
}

// widen makes every point twice as long.
func (l *ledger) widen() {
	l.width *= 2
	points := make(map[pointKey]*tally, len(l.points)/2+1)
	for key, t := range l.points {
		key.number /= 2
		into := tallyOf(points, key)
		into.latencies.merge(t.latencies)
		into.failed += t.failed
	}
	l.points = points
}

func (l *ledger) result() Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	whole := l.all.quantiles(.50, .95, .99)
	result := Result{
		Traffic: report.Traffic{
			Requests: l.requests, Failed: l.failed, Clients: l.clients,
			P50: whole[0], P95: whole[1], P99: whole[2],
			Errors: maps.Clone(l.errors), Points: make([]report.Point, 0, len(l.points)), Marks: slices.Clone(l.marks),
		},
		Unsent: l.left, Slots: make(map[string]Slot, len(l.slots)), Failures: slices.Clone(l.failures),
	}
	for key, t := range l.points {
		q := t.latencies.quantiles(.50, .95)
		result.Points = append(result.Points, report.Point{
			At: (time.Duration(key.number) * l.width).Seconds(), Slot: key.slot,
			Requests: t.latencies.n, Failed: t.failed, P50: q[0], P95: q[1],
		})
	}
	slices.SortFunc(result.Points, func(a, b report.Point) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Slot, b.Slot))
	})
	for name, t := range l.slots {
		q := t.latencies.quantiles(.50, .95, .99)
		result.Slots[name] = Slot{
			Requests: t.latencies.n, Failed: t.failed, P50: q[0], P95: q[1], P99: q[2], First: t.first, Last: t.last,
		}
	}
	return result
}
