package canary

import (
	"math"
	"sort"
)

// The Beta distribution over which bets on a share of failing users are mixed: most weight on shares of a few percent and
// less, which makes bounds there narrow and those elsewhere a little wider.
const (
	betaFailing = .5
	betaFine    = 100
)

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// against is the logarithm of what the mixture has won against a share, after k of n.
func against(k, n int) func(share float64) float64 {
	failing, fine := float64(k), float64(n-k)
	won := logBeta(failing+betaFailing, fine+betaFine) - logBeta(betaFailing, betaFine)
	return func(share float64) float64 {
		lost := fine * math.Log1p(-share)
		if k > 0 {
			lost += failing * math.Log(share)
		}
		return won - lost
	}
}

// UpperShare bounds the share of which k out of n were seen, with confidence 1-delta at all times together: the price for
// looking always is that none out of n bounds it at 3.1/n (n = 50) to 3.8/n (n = 400) where the rule of three, for one look, says 3/n. It is 1
// while nothing was seen.
func UpperShare(k, n int, delta float64) float64 {
	if n == 0 || k >= n {
		return 1
	}
	won, enough := against(k, n), -math.Log(delta)
	low, high := float64(k)/float64(n), 1.0
	for range bisections {
		if middle := (low + high) / 2; won(middle) >= enough {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// LowerShare is UpperShare's other side: 0 while nothing was seen.
func LowerShare(k, n int, delta float64) float64 {
	if k <= 0 {
		return 0
	}
	k = min(k, n) // n may be an estimate
	won, enough := against(k, n), -math.Log(delta)
	low, high := 0.0, float64(k)/float64(n)
	for range bisections {
		if middle := (low + high) / 2; won(middle) >= enough {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

const bisections = 40

// UsersToExclude is how many distinct users without a failure it takes to exclude, with confidence 1-delta, that a share x
// of users or more would meet one. Synthetic traffic of that many users makes up for real traffic that is too little.
func UsersToExclude(x, delta float64) int {
	if x >= 1 {
		return 1
	}
	const most = 1 << 30
	return sort.Search(most, func(n int) bool { return UpperShare(0, n, delta) <= x })
}
