package study

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFisherOfALadyTastingTea(t *testing.T) {
	assert.InDelta(t, 17./70, fisher(3, 4, 1, 4), 1e-12) // Fisher 1935: three or four of four cups
	assert.InDelta(t, 1./70, fisher(4, 4, 0, 4), 1e-12)
	assert.InDelta(t, 1, fisher(0, 10, 5, 20), 1e-12)
}

func TestThePosteriorAgreesWithDraws(t *testing.T) {
	assert.InDelta(t, .5, betaGreater(7, 90, 7, 90), 1e-9)
	assert.InDelta(t, 2./3, betaGreater(1, 1, 0, 0), 1e-9) // Beta(2,1) above a uniform
	random := rand.New(rand.NewPCG(1, 1))
	gamma := func(k int) float64 { // of whole k: a sum of exponentials
		sum := 0.0
		for range k {
			sum += random.ExpFloat64()
		}
		return sum
	}
	beta := func(a, b int) float64 { x, y := gamma(a), gamma(b); return x / (x + y) }
	greater := 0
	const draws = 20_000
	for range draws {
		if beta(5, 28) > beta(6, 96) {
			greater++
		}
	}
	assert.InDelta(t, float64(greater)/draws, betaGreater(4, 31, 5, 100), 4*.5/math.Sqrt(draws))
}

func TestTheKthSmallestValue(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		values := make([]float64, 1+random.IntN(40))
		for i := range values {
			values[i] = float64(random.IntN(10))
		}
		k := random.IntN(len(values))
		sorted := slices.Sorted(slices.Values(values))
		assert.Equal(t, sorted[k], nth(values, k))
	}
}

func TestKayentaSeesAShiftThatItHasPointsFor(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	points := func(n int, mean float64) []float64 {
		all := make([]float64, n)
		for i := range all {
			all[i] = mean + random.NormFloat64()
		}
		return all
	}
	high := func(n int, shift float64) (n5 int) {
		for range 200 {
			if kayentaHigh(points(n, 10+shift), points(n, 10), random) {
				n5++
			}
		}
		return n5
	}
	assert.Greater(t, high(60, 1), 190)
	assert.Less(t, high(60, 0), 10)
	assert.Zero(t, high(60, -1), "lower is not High")
	assert.Zero(t, high(3, 5), "three points are too few")
	assert.False(t, kayentaHigh(nil, points(60, 1), random))
}

func TestWilsonsInterval(t *testing.T) {
	interval := wilson(1, 10)
	assert.InDelta(t, .0179, interval[0], 1e-4)
	assert.InDelta(t, .4042, interval[1], 1e-4)
	assert.Equal(t, 0., wilson(0, 300)[0])
}
