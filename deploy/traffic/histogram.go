package traffic

import (
	"maps"
	"math"
	"slices"
	"time"
)

// histogram counts latencies in buckets that each are 2 % wider than the one before, so that a percentile is off by 1 %
// at most, whatever its size, and any number of samples takes a few kilobytes. The zero value is empty.
type histogram struct {
	counts map[int]int // by bucket
	n      int
}

const (
	finest = 10 * time.Microsecond // all below is one bucket
	growth = 1.02
)

func bucketOf(latency time.Duration) int {
	if latency <= finest {
		return 0
	}
	return int(math.Ceil(math.Log(float64(latency)/float64(finest)) / math.Log(growth)))
}

// middle is the latency in the middle of a bucket, in milliseconds.
func middle(bucket int) float64 {
	return finest.Seconds() * 1000 * math.Pow(growth, float64(bucket)-.5)
}

func (h *histogram) add(latency time.Duration) {
	if h.counts == nil {
		h.counts = map[int]int{}
	}
	h.counts[bucketOf(latency)]++
	h.n++
}

func (h *histogram) merge(other histogram) {
	if h.counts == nil {
		h.counts = map[int]int{}
	}
	for bucket, n := range other.counts {
		h.counts[bucket] += n
	}
	h.n += other.n
}

// quantiles are latencies in milliseconds that the given shares of all samples do not exceed; 0 without samples.
// The shares must ascend.
func (h *histogram) quantiles(shares ...float64) []float64 {
	found := make([]float64, len(shares))
	if h.n == 0 {
		return found
	}
	seen, next := 0, 0
	for _, bucket := range slices.Sorted(maps.Keys(h.counts)) {
		seen += h.counts[bucket]
		for next < len(shares) && float64(seen) >= shares[next]*float64(h.n) {
			found[next] = math.Round(middle(bucket)*1000) / 1000
			next++
		}
	}
	return found
}
