package canary

import (
	"math"
	"slices"
	"time"
)

// threshold is the latency beyond which a request of a route is slow: the p95 of the stable slot's last requests.
//
// It is estimated anew with every request without spoiling the test: what is asked is on which slot a slow request ran,
// and that is a draw with probability w for any threshold that does not look at this request or a later one. A bad
// estimate costs power only. It follows a slowdown of both slots, so what both suffer from does not fill the count.
type threshold struct {
	Last []time.Duration `json:"last"` // the stable slot's latencies, a ring
	Next int             `json:"next"`

	sorted []time.Duration // Last in order
}

const (
	slowShare    = .05
	kept         = 400 // latencies: 20 of them beyond the p95
	estimateFrom = 60  // latencies; three of them beyond
)

// value is the estimate, 0 before there is one.
func (t *threshold) value() time.Duration {
	if len(t.Last) < estimateFrom {
		return 0
	}
	t.sort()
	return t.sorted[int(math.Ceil((1-slowShare)*float64(len(t.sorted))))-1]
}

// slow says whether a latency is beyond the threshold. Without an estimate none is.
func (t *threshold) slow(latency time.Duration) bool {
	value := t.value()
	return value > 0 && latency > value
}

// learn takes a latency of the stable slot, after it was compared.
func (t *threshold) learn(latency time.Duration) {
	t.sort()
	if len(t.Last) < kept {
		t.Last = append(t.Last, latency)
	} else {
		i, _ := slices.BinarySearch(t.sorted, t.Last[t.Next])
		t.sorted = slices.Delete(t.sorted, i, i+1)
		t.Last[t.Next] = latency
		t.Next = (t.Next + 1) % kept
	}
	i, _ := slices.BinarySearch(t.sorted, latency)
	t.sorted = slices.Insert(t.sorted, i, latency)
}

// sort orders what was read from a saved state.
func (t *threshold) sort() {
	if len(t.sorted) != len(t.Last) {
		t.sorted = slices.Sorted(slices.Values(t.Last))
	}
}
