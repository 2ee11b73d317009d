package canary

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 27)) }

var shares = []float64{.01, .05, .1, .25, .5, .95}

// event is an entry of a process.
type event struct {
	hit bool
	p   float64
}

func events(random *rand.Rand, n int) []event {
	all := make([]event, n)
	for i := range all {
		all[i] = event{random.Float64() < .3, shares[random.IntN(len(shares))]}
	}
	return all
}

func process(all []event) *Process {
	p := &Process{}
	for _, e := range all {
		p.Add(e.hit, e.p)
	}
	return p
}

func TestTheExpectedFortuneIsTodaysWhateverHappenedBefore(t *testing.T) {
	random := seeded(1)
	for range 500 {
		before := events(random, random.IntN(40))
		p := shares[random.IntN(len(shares))]
		now := process(before).E()
		hit, miss := process(append(before, event{true, p})).E(), process(append(before, event{false, p})).E()
		assert.InEpsilon(t, now, p*hit+(1-p)*miss, 1e-9, "with probability %v, as claimed", p)
		less := p * random.Float64()
		assert.LessOrEqual(t, less*hit+(1-less)*miss, now*(1+1e-9), "with a lower probability than claimed: a canary that is better")
	}
}

func TestTheFortuneOfAGoodCanarySeldomExceedsItsBound(t *testing.T) {
	const runs, alpha = 1500, .01
	for _, w := range shares {
		random, crossed := seeded(2), 0
		for range runs {
			p := Process{}
			for range 200 {
				hit := random.Float64() < w
				if p.Add(hit, w); hit && p.E() >= 1/alpha { // a miss never raises it
					crossed++
					break
				}
			}
		}
		assert.LessOrEqual(t, crossed, 27, "of %d runs at %v: three standard deviations above alpha", runs, w)
	}
}

func TestOrderMakesNoDifference(t *testing.T) {
	random := seeded(3)
	for range 100 {
		all := events(random, 60)
		one := process(all)
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		other := process(all)
		assert.Equal(t, one.E(), other.E())
		assert.Equal(t, one.UpperRatio(.05), other.UpperRatio(.05))
	}
}

// How many bad events on the canary are enough when there is none on the stable release, at alpha .005.
func TestAFewBadUsersAreEnough(t *testing.T) {
	for w, want := range map[float64]int{.01: 2, .05: 3, .1: 3, .25: 5, .5: 9, .95: 114} {
		p, n := Process{}, 0
		for p.E() < 200 {
			p.Add(true, w)
			n++
		}
		assert.Equal(t, want, n, "at %v", w)
	}
}

func TestEventsThatTellNothingAreNotCounted(t *testing.T) {
	p := Process{}
	for _, share := range []float64{0, 1, -1, 2, math.NaN(), math.Inf(1)} {
		p.Add(true, share)
	}
	assert.Empty(t, p.Tallies)
	assert.Equal(t, 1., p.E())
}

func TestTheBoundOfTheRatioHolds(t *testing.T) {
	const runs = 200
	for _, ratio := range []float64{.5, 1, 2, 5} {
		random, wrong, bounded := seeded(4), 0, 0
		for range runs {
			p, missed := Process{}, false
			for n := range 150 {
				w := []float64{.1, .25, .5}[random.IntN(3)]
				p.Add(random.Float64() < w*ratio/(1-w+w*ratio), w)
				missed = missed || n%3 == 0 && p.UpperRatio(.05) < ratio
			}
			if missed {
				wrong++
			}
			if p.UpperRatio(.05) < 3*ratio {
				bounded++
			}
		}
		assert.LessOrEqual(t, wrong, 20, "of %d bounds were once below %v: three standard deviations above 5 %%", runs, ratio)
		assert.Greater(t, bounded, runs*9/10, "the bound of %v is of use after 150 events", ratio)
	}
}

func TestMoreHitsNeverLowerTheEvidenceOrTheBound(t *testing.T) {
	random := seeded(5)
	for range 50 {
		w, misses := shares[random.IntN(len(shares))], random.IntN(30)
		p := Process{}
		for range misses {
			p.Add(false, w)
		}
		if misses == 0 {
			p.Add(true, w)
		}
		e, bound := p.E(), p.UpperRatio(.05)
		for range 40 {
			p.Add(true, w)
			require.GreaterOrEqual(t, p.E(), e)
			require.GreaterOrEqual(t, p.UpperRatio(.05), bound)
			e, bound = p.E(), p.UpperRatio(.05)
		}
	}
}

func TestEStaysFinite(t *testing.T) {
	p := Process{Tallies: []Tally{{P: .01, Hits: 1 << 30}}}
	assert.Equal(t, float64(mostE), p.E())
	p = Process{Tallies: []Tally{{P: .5, Misses: 1 << 30}}}
	assert.Equal(t, 0., p.E())
}
