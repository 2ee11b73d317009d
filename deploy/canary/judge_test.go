package canary

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// request is an observation of user n at 10 %.
func request(n int, canary bool, outcome Outcome) Observation {
	return Observation{At: start, Cohort: "user-" + strconv.Itoa(n), Route: "GET /", Canary: canary, Share: .1, Outcome: outcome}
}

// seen is a judge who saw users on both slots, of whom some met a failure.
func seen(options Options, stable, stableFailed, canary, canaryFailed int) *Judge {
	j := NewJudge(options)
	for n := range stable + canary {
		failed := n < stableFailed || n >= stable && n < stable+canaryFailed
		outcome := OK
		if failed {
			outcome = AppError
		}
		j.Observe(request(n, n >= stable, outcome))
	}
	return j
}

func text(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

func TestAUserWhoRetriesCountsOnce(t *testing.T) {
	for _, outcome := range []Outcome{AppError, Gateway, Timeout, Truncated, ClientError} {
		t.Run(outcome.String(), func(t *testing.T) {
			j := seen(Options{}, 20, 2, 5, 0)
			j.Observe(request(22, true, outcome))
			once := text(t, j)
			for range 1000 {
				j.Observe(request(22, true, outcome))
			}
			assert.Equal(t, once, text(t, j))
		})
	}
}

func TestAUserWhomTheRampMovesCountsOnce(t *testing.T) {
	j := NewJudge(Options{})
	j.Observe(request(1, false, AppError))
	j.Observe(request(1, true, AppError))
	hits, misses := j.state.Failures.Count()
	assert.Equal(t, []int{0, 1}, []int{hits, misses}, "for the slot that was drawn when the user first failed")
	assert.Equal(t, [2]int{1, 1}, j.Verdict(Need{}).Failed, "but has failed on both")
}

func TestAUserWhoFailsOnManyRoutesIsOneDrawOfThePool(t *testing.T) {
	j := NewJudge(Options{})
	for route := range 50 {
		o := request(1, true, AppError)
		o.Route = strconv.Itoa(route)
		j.Observe(o)
	}
	assert.Equal(t, 1, j.failures().Of)
	assert.Len(t, j.state.Strata, 50)
	assert.Equal(t, Inconclusive, j.Verdict(Need{}).Is)
}

func TestWhatDoesNotCount(t *testing.T) {
	for name, change := range map[string]func(*Observation){
		"a client that went away":           func(o *Observation) { o.Outcome = Aborted },
		"a request of a segment":            func(o *Observation) { o.Pinned = true },
		"a request without a cohort":        func(o *Observation) { o.Cohort = "" },
		"synthetic traffic, not declared":   func(o *Observation) { o.Synthetic = true },
		"a request routed during a warm-up": func(o *Observation) { o.At = start.Add(-time.Nanosecond) },
	} {
		t.Run(name, func(t *testing.T) {
			j := NewJudge(Options{})
			j.ignoreUntil(start)
			o := request(1, true, AppError)
			change(&o)
			j.Observe(o)
			v := j.Verdict(Need{})
			assert.Equal(t, 1, j.state.Ignored)
			assert.Zero(t, v.Users)
			assert.Zero(t, v.Failed)
		})
	}
	j := NewJudge(Options{})
	for n := range 30 {
		j.Observe(request(n, true, ClientError))
	}
	v := j.Verdict(Need{Exposure: 1, MaxExcess: .5})
	assert.Equal(t, Promote, v.Is, "4xx is told and not counted: %v", v.Reasons)
	assert.Contains(t, v.Reasons[1], "30 of 30 users who got a 4xx answer were on the canary")
}

func TestDeclaredSyntheticTrafficCountsAndIsTold(t *testing.T) {
	j := NewJudge(Options{Synthetic: true})
	for n := range 40 {
		o := request(n, true, OK)
		o.Synthetic = n < 25
		j.Observe(o)
	}
	v := j.Verdict(Need{Exposure: 40, MaxExcess: .2})
	assert.Equal(t, Promote, v.Is)
	assert.Contains(t, v.Reasons, "25 of the 40 users on the canary were the pipeline's own")
}

// One cause that shows in failures, latency, a route and the application's metrics at once is the worst for the split of
// alpha: all processes go up together.
func TestMetricsThatDependOnEachOtherDoNotAddUp(t *testing.T) {
	const runs = 800
	random, rolledBack := seeded(8), 0
	metrics := []Metric{{Name: "orders", Kind: Pairs}, {Name: "balance", Kind: Checks, AllowedFailures: .1}}
	for range runs {
		j := NewJudge(Options{Metrics: metrics})
		for n := range estimateFrom {
			o := request(-1-n, false, OK)
			o.Latency = 100 * time.Millisecond
			j.Observe(o)
		}
		for n := range 150 {
			unlucky(t, j, random, n)
		}
		if j.RolledBack() {
			rolledBack++
		}
	}
	assert.LessOrEqual(t, rolledBack, 16, "of %d: three standard deviations above alpha", runs)
}

// unlucky is a user for whom everything goes wrong, on a slot that was drawn.
func unlucky(t *testing.T, j *Judge, random *rand.Rand, n int) {
	t.Helper()
	u := random.Float64()
	o := request(n, u < .1, OK)
	o.Latency = time.Second
	j.Observe(o)
	o.Outcome = AppError
	j.Observe(o)
	require.NoError(t, j.Check("balance", u >= .1))
	if u < .5 {
		require.NoError(t, j.Pair("orders", 2, 1))
	} else {
		require.NoError(t, j.Pair("orders", 1, 2))
	}
}

func TestABrokenRouteThatFewUseIsFoundAmongTheFailuresOfABusyOne(t *testing.T) {
	random, j := seeded(9), NewJudge(Options{})
	n := 0
	for ; !j.RolledBack() && n < 20_000; n++ {
		o := request(n, random.Float64() < .1, AppError)
		switch {
		case random.Float64() < .01:
			if o.Route = "POST /export"; !o.Canary {
				o.Outcome = OK
			}
		case random.Float64() < .95:
			o.Outcome = OK
		}
		j.Observe(o)
	}
	require.True(t, j.RolledBack(), "%+v", j.all())
	assert.Equal(t, "failures of POST /export (5xx)", j.state.Crossed.Name)
	assert.Less(t, j.failures().E, 20., "all failures together say little after %d users", n)
}

func TestRoutesThatAreNoPatternsDoNotFillTheMemory(t *testing.T) {
	j := NewJudge(Options{})
	for n := range 1000 {
		o := request(n, false, AppError)
		o.Route = "/users/" + strconv.Itoa(n)
		j.Observe(o)
		o.Outcome, o.Latency = OK, time.Second
		j.Observe(o)
	}
	assert.Len(t, j.state.Strata, mostStrata)
	assert.Len(t, j.state.Thresholds, mostRoutes)
	assert.Equal(t, 1000, j.failures().Of)
}

func TestTheApplicationsMetrics(t *testing.T) {
	metrics := []Metric{{Name: "orders", Kind: Pairs, LowerIsWorse: true}, {Name: "balance", Kind: Checks}}
	t.Run("a canary that is always the worse one is found", func(t *testing.T) {
		j := NewJudge(Options{Metrics: metrics})
		pairs := 0
		for ; !j.RolledBack(); pairs++ {
			require.Less(t, pairs, 20)
			require.NoError(t, j.Pair("orders", 1, 2))
		}
		v := j.Verdict(Need{})
		assert.Equal(t, "orders: the canary was the worse one in 12 of 12 pairs: odds of 1 in 1,900 if it were as good as the stable release", v.Reasons[0])
	})
	t.Run("ties and what is no number do not count", func(t *testing.T) {
		j := NewJudge(Options{Metrics: metrics})
		nan := 0.
		nan /= nan
		require.NoError(t, j.Pair("orders", 2, 2))
		require.NoError(t, j.Pair("orders", nan, 2))
		assert.Empty(t, j.state.Metrics)
	})
	t.Run("more orders are no reason", func(t *testing.T) {
		j := NewJudge(Options{Metrics: metrics})
		for range 100 {
			require.NoError(t, j.Pair("orders", 2, 1))
			require.NoError(t, j.Check("balance", true))
		}
		assert.False(t, j.RolledBack())
	})
	t.Run("checks that fail are found", func(t *testing.T) {
		j := NewJudge(Options{Metrics: metrics})
		for range 3 {
			require.NoError(t, j.Check("balance", false))
		}
		assert.Contains(t, j.Verdict(Need{}).Reasons[0], "balance: 3 of 3 checks failed, 5 % may: odds of 1 in 1,800 if it were good")
	})
	t.Run("what was not declared so is refused", func(t *testing.T) {
		j := NewJudge(Options{Metrics: metrics})
		require.ErrorContains(t, j.Pair("balance", 1, 2), `no metric "balance" of kind pairs is declared`)
		require.ErrorContains(t, j.Check("x", true), `no metric "x" of kind checks is declared`)
	})
	t.Run("a metric that was never measured promotes nothing", func(t *testing.T) {
		j := seen(Options{Metrics: metrics}, 900, 0, 900, 0)
		assert.Equal(t, Inconclusive, j.Verdict(Need{Exposure: 1, MaxExcess: .5}).Is)
		require.NoError(t, j.Pair("orders", 2, 1))
		v := j.Verdict(Need{Exposure: 1, MaxExcess: .5})
		assert.Equal(t, "balance was never measured", v.Reasons[0])
		require.NoError(t, j.Check("balance", true))
		assert.Equal(t, Promote, j.Verdict(Need{Exposure: 1, MaxExcess: .5}).Is)
	})
}

// A slower canary, and one that is not, where the threshold is what was learnt from the stable release until then.
func TestSlowness(t *testing.T) {
	rollbacks := func(slower float64) (n int) {
		random := seeded(10)
		for range 200 {
			j := NewJudge(Options{})
			for n := range 1200 {
				o := request(n, random.Float64() < .1, OK)
				latency := 1e8 * random.ExpFloat64()
				if o.Canary {
					latency *= slower
				}
				o.Latency = time.Duration(latency) + 1
				j.Observe(o)
			}
			if j.RolledBack() {
				n++
			}
		}
		return n
	}
	assert.LessOrEqual(t, rollbacks(1), 3)
	assert.GreaterOrEqual(t, rollbacks(3), 195)
}

// Simpson's paradox as a ramp makes it: the canary's share grows while requests move to the route that fails more. Over all
// requests the canary fails twice as often as the stable release, on each route both fail alike.
func TestARampWhileTrafficMovesToAWorseRouteIsNoReason(t *testing.T) {
	const runs = 300
	random, rolledBack := seeded(12), 0
	var failed, all [2]float64
	for range runs {
		j := NewJudge(Options{})
		for n := range 2000 {
			o := request(n, false, OK)
			o.Share = []float64{.01, .05, .1, .25, .5}[n/400]
			o.Canary = random.Float64() < o.Share
			fails := .002
			if random.IntN(2000) < n {
				o.Route, fails = "GET /search", .05
			}
			slot := 0
			if o.Canary {
				slot = 1
			}
			all[slot]++
			if random.Float64() < fails {
				failed[slot]++
				o.Outcome = AppError
				j.Observe(o)
			}
		}
		if j.RolledBack() {
			rolledBack++
		}
	}
	assert.Greater(t, failed[1]/all[1], 1.5*failed[0]/all[0], "who compares rates falls for it")
	assert.LessOrEqual(t, rolledBack, 8, "of %d: three standard deviations above alpha", runs)
}
