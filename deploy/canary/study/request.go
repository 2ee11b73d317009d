package study

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// request is what the rules see of one.
type request struct {
	user    int
	canary  bool
	share   float64
	rare    bool
	failed  bool
	client  bool // 4xx
	latency time.Duration
	slow    bool // beyond the true p95 of the stable release
}

// source sends a cell's requests.
type source struct {
	cell   Cell
	random *rand.Rand

	drawn   []float64 // by user, in [0, 1): on the canary below its share
	segment []bool
	broken  map[int]int // who retries as request i, of the broken accounts
}

func newSource(cell Cell, random *rand.Rand) *source {
	s := &source{cell: cell, random: random, drawn: make([]float64, cell.Users), segment: make([]bool, cell.Users)}
	for user := range s.drawn {
		s.drawn[user] = random.Float64()
		s.segment[user] = random.Float64() < cell.Segment
	}
	if cell.Accounts > 0 {
		s.broken = map[int]int{}
		for user := range s.drawn {
			if random.Float64() < cell.Accounts {
				first := random.IntN(cell.Requests)
				for i := range 1 + int(random.ExpFloat64()*10) {
					s.broken[first+i] = user
				}
			}
		}
	}
	return s
}

const (
	medianLatency = 100 * time.Millisecond
	sigma         = .6
)

// slowest is the p95 of the latency on the stable release.
var slowest = time.Duration(float64(medianLatency) * math.Exp(sigma*1.6448536269514722))

// next is request i.
func (s *source) next(i int) request {
	c := &s.cell
	r := request{user: i, share: c.Shares[i*len(c.Shares)/c.Requests]}
	var drawn float64
	fails := c.Stable
	if c.Users == 0 {
		drawn = s.random.Float64()
	} else {
		r.user = s.random.IntN(c.Users)
		if c.Retry > 0 && s.random.Float64() < c.Retry {
			r.user, fails = 0, 1
		}
		if user, retries := s.broken[i]; retries {
			r.user, fails = user, 1
		}
		drawn = s.drawn[r.user]
	}
	r.canary = drawn < r.share
	if r.canary && fails < 1 {
		fails = c.Canary
	}
	if c.Outage > 0 && i >= c.Outage && i < c.Outage+c.Requests/9 {
		fails = c.OutageRate
	}
	if c.Segment > 0 && s.segment[r.user] {
		fails = c.SegmentRate
	}
	if c.Rare > 0 && s.random.Float64() < c.Rare {
		if r.rare = true; r.canary {
			fails = c.RareRate
		}
	}
	if fails > 0 {
		r.failed = s.random.Float64() < fails
	}
	if c.Client[0] > 0 && !r.failed {
		of := c.Client[0]
		if r.canary {
			of = c.Client[1]
		}
		r.client = s.random.Float64() < of
	}
	if c.Slower > 0 {
		latency := float64(medianLatency) * math.Exp(sigma*s.random.NormFloat64())
		if r.canary {
			latency *= c.Slower
		}
		r.latency = time.Duration(latency)
		r.slow = r.latency > slowest
	}
	return r
}

// names are the users' cohort ids.
var names = func() []string {
	ids := make([]string, 5000)
	for i := range ids {
		ids[i] = "user-" + strconv.Itoa(i)
	}
	return ids
}()
