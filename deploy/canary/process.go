package canary

import (
	"math"
	"slices"
)

// Process is a bet, event by event, against the claim that each event is a hit with a known probability or less. For
// failures a hit is one that landed on the canary, and the probability the canary's share at that time.
//
// The bet is a mixture: one stake for each of several odds ratios r, which multiply the odds of a hit. A stake grows by
// q/p on a hit and by (1-q)/(1-p) on a miss, where q = p·r/(1-p+p·r). Each is a martingale if hits have probability p
// and a supermartingale if less, and so is their mean E. The stakes are equal and the ratios spread evenly on a
// logarithmic scale: the method of mixtures (Robbins 1970).
//
// Only counts are kept, so the order of events that have the same probability makes no difference.
type Process struct {
	Tallies []Tally `json:"tallies,omitempty"` // by ascending P
}

// Tally is the events that had one probability of being a hit.
type Tally struct {
	P      float64 `json:"p"`
	Hits   int     `json:"hits"`
	Misses int     `json:"misses"`

	gains *gains
}

// The odds ratios that are bet on. Below 1.5 there is nothing worth a rollback after so few events as a canary sees; a
// canary that fails always, beside a stable release that fails once in 200, has 200.
const (
	leastRatio = 1.5
	mostRatio  = 200
	stakes     = 24
)

// gains are logarithms of what each stake is multiplied with.
type gains struct{ hit, miss [stakes]float64 }

var betRatios = func() (ratios [stakes]float64) {
	spread(ratios[:], leastRatio, mostRatio)
	return ratios
}()

// spread fills ratios evenly on a logarithmic scale.
func spread(ratios []float64, least, most float64) {
	for i := range ratios {
		ratios[i] = least * math.Pow(most/least, float64(i)/float64(len(ratios)-1))
	}
}

func gainsAt(p float64) *gains {
	var g gains
	for i, r := range betRatios {
		g.hit[i], g.miss[i] = logGains(p, r)
	}
	return &g
}

// logGains are log(q/p) and log((1-q)/(1-p)).
func logGains(p, ratio float64) (hit, miss float64) {
	miss = -math.Log1p(p * (ratio - 1))
	return math.Log(ratio) + miss, miss
}

// Add counts an event that was a hit with probability p, if the claim holds. A probability of 0 or 1 leaves nothing to
// bet on: such an event is not counted.
func (s *Process) Add(hit bool, p float64) {
	if !(p > 0 && p < 1) {
		return
	}
	i, found := slices.BinarySearchFunc(s.Tallies, p, func(t Tally, p float64) int {
		switch {
		case t.P < p:
			return -1
		case t.P > p:
			return 1
		}
		return 0
	})
	if !found {
		s.Tallies = slices.Insert(s.Tallies, i, Tally{P: p, gains: gainsAt(p)})
	}
	if hit {
		s.Tallies[i].Hits++
	} else {
		s.Tallies[i].Misses++
	}
}

// E is the fortune that began as 1. The probability that it ever exceeds x, if the claim holds, is at most 1/x.
func (s *Process) E() float64 {
	var logs [stakes]float64
	for i := range s.Tallies {
		t := &s.Tallies[i]
		if t.gains == nil {
			t.gains = gainsAt(t.P)
		}
		hits, misses := float64(t.Hits), float64(t.Misses)
		for k := range logs {
			logs[k] += hits*t.gains.hit[k] + misses*t.gains.miss[k]
		}
	}
	return min(math.Exp(logMean(logs[:])), mostE)
}

// mostE keeps E finite, so that it has a form in JSON.
const mostE = 1e15

// logMean is the logarithm of the mean of what logs are the logarithms of.
func logMean(logs []float64) float64 {
	most := slices.Max(logs)
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum/float64(len(logs)))
}

// Count is how many events were hits and misses.
func (s *Process) Count() (hits, misses int) {
	for _, t := range s.Tallies {
		hits += t.Hits
		misses += t.Misses
	}
	return hits, misses
}

// shares are the lowest and highest probability that an event had.
func (s *Process) shares() (low, high float64) {
	if len(s.Tallies) == 0 {
		return 0, 0
	}
	return s.Tallies[0].P, s.Tallies[len(s.Tallies)-1].P
}

// The odds ratios among which UpperRatio looks.
const (
	boundLow    = 1. / 64
	boundHigh   = 64.
	boundPoints = 97 // steps of 9 %
)

var boundRatios = func() (ratios [boundPoints]float64) {
	spread(ratios[:], boundLow, boundHigh)
	return ratios
}()

// UpperRatio is an upper bound on the odds ratio of a hit, of confidence 1-delta at all times together: +Inf while there is
// none below 64. It is the end of the confidence sequence that consists of the ratios against which the mixture over all
// ratios has not won 1/delta (Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
// sequences", 2021), rounded up to the next of the ratios that are tried. The likelihood is log-concave in the logarithm
// of the ratio, so they are an interval.
func (s *Process) UpperRatio(delta float64) float64 {
	var logs [boundPoints]float64
	for i, ratio := range boundRatios {
		for _, t := range s.Tallies {
			hit, miss := logGains(t.P, ratio)
			logs[i] += float64(t.Hits)*hit + float64(t.Misses)*miss
		}
	}
	beaten := logMean(logs[:]) + math.Log(delta)
	for i := boundPoints - 1; i >= 0; i-- {
		if logs[i] > beaten {
			if i == boundPoints-1 {
				return math.Inf(1)
			}
			return boundRatios[i+1]
		}
	}
	return boundRatios[0]
}
