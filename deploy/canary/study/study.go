package study

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/metaextract/pipeline/deploy/canary"
)

// Result is a cell's runs.
type Result struct {
	Cell    string       `json:"cell"`
	Healthy bool         `json:"healthy"`
	Runs    int          `json:"runs"`
	Rules   []RuleResult `json:"rules"`
}

// RuleResult is what one rule did in a cell.
type RuleResult struct {
	Rule     string     `json:"rule"`
	Rolled   int        `json:"rolled_back"` // runs
	Share    float64    `json:"share"`       // of all runs
	Interval [2]float64 `json:"interval"`    // 95 %, Wilson
	// Medians over the runs that were rolled back; 0 without any.
	Requests float64 `json:"requests"`
	BadUsers float64 `json:"bad_users"`
}

// Run tries all rules on a cell. The same seed gives the same result, whatever other cells are run. The error is the
// context's.
func Run(ctx context.Context, cell Cell, runs int, seed uint64) (Result, error) {
	name := fnv.New64a()
	_, _ = name.Write([]byte(cell.Name))
	var requests, badUsers [ruleNumber][]float64
	for run := range runs {
		if err := context.Cause(ctx); err != nil {
			return Result{}, fmt.Errorf("study %q: stopped after %d of %d runs: %w", cell.Name, run, runs, err)
		}
		random := rand.New(rand.NewPCG(seed, name.Sum64()+uint64(run)))
		for rule, c := range once(cell, random) {
			if c.yes {
				requests[rule] = append(requests[rule], float64(c.requests))
				badUsers[rule] = append(badUsers[rule], float64(c.badUsers))
			}
		}
	}
	result := Result{Cell: cell.Name, Healthy: cell.Healthy, Runs: runs}
	for rule := range Rule(ruleNumber) {
		n := len(requests[rule])
		result.Rules = append(result.Rules, RuleResult{
			Rule: rule.String(), Rolled: n, Share: float64(n) / float64(runs), Interval: wilson(n, runs),
			Requests: median(requests[rule]), BadUsers: median(badUsers[rule]),
		})
	}
	return result, nil
}

// once is one run of a cell: until all rules have rolled back or the requests are over.
func once(cell Cell, random *rand.Rand) [ruleNumber]caught {
	var options canary.Options
	if cell.Everything {
		options.Metrics = []canary.Metric{
			{Name: "orders", Kind: canary.Pairs, LowerIsWorse: true}, {Name: "balance", Kind: canary.Checks, AllowedFailures: allowed},
		}
	}
	requests := newSource(cell, random)
	j := &judged{cell: cell, random: random, open: ruleNumber, ours: canary.NewJudge(options), met: map[int]struct{}{}}
	for i := 0; i < cell.Requests && j.open > 0; i++ {
		j.observe(i, requests.next(i))
	}
	return j.caught
}

// wilson is the 95 % interval of a share of which k out of n were seen (Wilson 1927).
func wilson(k, n int) [2]float64 {
	const z = 1.959963984540054
	p, m := float64(k)/float64(n), float64(n)
	middle := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return [2]float64{max(0, middle-half), min(1, middle+half)}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
