package study

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
)

// Ramp is a release that goes the default plan's way, from its first user to the end of the bake.
type Ramp struct {
	Name      string
	PerMinute int // new users
	// Stable and Canary are the shares of users who meet a failure.
	Stable, Canary float64
}

// Ramps are what the second table is made of.
func Ramps() []Ramp {
	return []Ramp{
		{"600 users a minute, nobody fails", 600, 0, 0},
		{"600 users a minute, 0.5 % fail", 600, .005, .005},
		{"600 users a minute, 5 % fail", 600, .05, .05},
		{"60 users a minute, 0.5 % fail", 60, .005, .005},
		{"6 users a minute, 0.5 % fail", 6, .005, .005},
		{"no users", 0, 0, 0},
		{"600 users a minute, 0.5 % fail, 1 % on the canary", 600, .005, .01},
		{"600 users a minute, 0.5 % fail, 3 % on the canary", 600, .005, .03},
		{"600 users a minute, 0.5 % fail, all on the canary", 600, .005, 1},
		{"60 users a minute, 0.5 % fail, 3 % on the canary", 60, .005, .03},
	}
}

// RampResult is what became of a ramp's runs.
type RampResult struct {
	Ramp     string  `json:"ramp"`
	Runs     int     `json:"runs"`
	Finished int     `json:"finished"`
	Worse    int     `json:"worse"`     // rolled back because the canary was found to be worse
	Unsure   int     `json:"unsure"`    // rolled back because the verdict stayed open
	Minutes  float64 `json:"minutes"`   // median until the end
	BadUsers float64 `json:"bad_users"` // median number of users who met a failure on the canary
}

// RunRamp lets releases go through a ramp. The error is the context's.
func RunRamp(ctx context.Context, ramp Ramp, runs int, seed uint64) (RampResult, error) {
	name := fnv.New64a()
	_, _ = name.Write([]byte(ramp.Name))
	result := RampResult{Ramp: ramp.Name, Runs: runs}
	var minutes, badUsers []float64
	for run := range runs {
		if err := context.Cause(ctx); err != nil {
			return RampResult{}, fmt.Errorf("study %q: stopped after %d of %d runs: %w", ramp.Name, run, runs, err)
		}
		end, took, err := ramp.once(rand.New(rand.NewPCG(seed, name.Sum64()+uint64(run))))
		if err != nil {
			return RampResult{}, err
		}
		switch {
		case end.Do == canary.Finish:
			result.Finished++
		case end.Verdict.Is == canary.Rollback:
			result.Worse++
		default:
			result.Unsure++
		}
		minutes = append(minutes, took.Minutes())
		badUsers = append(badUsers, float64(end.Verdict.Failed[1]))
	}
	result.Minutes, result.BadUsers = median(minutes), median(badUsers)
	return result, nil
}

// decideEvery is how often a deployment asks.
const decideEvery = 10 * time.Second

// once is one release on its way: its last decision, and after how long.
func (r Ramp) once(random *rand.Rand) (canary.Decision, time.Duration, error) {
	c, err := canary.New(canary.Plan{})
	if err != nil {
		return canary.Decision{}, 0, fmt.Errorf("plan ramp: %w", err)
	}
	begin := time.Unix(0, 0).UTC()
	percent, users := 0, 0
	for now := begin; ; now = now.Add(decideEvery) {
		decision := c.Decide(now)
		switch decision.Do {
		case canary.Finish, canary.RollBack:
			return decision, now.Sub(begin), nil
		case canary.Shift:
			percent = decision.Percent
			c.Shifted(now)
		}
		expected := float64(r.PerMinute) * decideEvery.Minutes()
		for ; expected > 0; expected-- {
			if expected < 1 && random.Float64() >= expected {
				break
			}
			users++
			share := float64(percent) / 100
			o := canary.Observation{
				At: now, Cohort: strconv.Itoa(users), Route: "GET /", Share: share, Canary: random.Float64() < share,
			}
			fails := r.Stable
			if o.Canary {
				fails = r.Canary
			}
			if random.Float64() < fails {
				o.Outcome = canary.AppError
			}
			c.Observe(o)
		}
	}
}
