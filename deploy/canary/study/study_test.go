package study

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testRuns = 300

// The bounds have room: 9 of 300 is more than four standard deviations above the 0.75 % that alpha leaves for cells without
// latency, and three above the 1 % of all.
func TestOurRuleKeepsHealthyCanariesAndCatchesBrokenOnes(t *testing.T) {
	for _, cell := range Cells() {
		t.Run(cell.Name, func(t *testing.T) {
			result, err := Run(context.Background(), cell, testRuns, 1)
			require.NoError(t, err)
			ours := result.Rules[Ours]
			switch {
			case cell.Healthy:
				assert.LessOrEqual(t, ours.Rolled, 9)
			case cell.Canary == 1:
				assert.Equal(t, testRuns, ours.Rolled)
				assert.LessOrEqual(t, ours.BadUsers, 3.)
			case cell.Slower == 1.2:
				assert.Greater(t, ours.Share, .5)
			default:
				assert.Greater(t, ours.Share, .7)
				assert.Less(t, ours.BadUsers, 40.)
			}
		})
	}
}

// That the others are simulated as they are, by what is known of them.
func TestTheOtherRulesDoWhatTheyDo(t *testing.T) {
	cells := map[string]Cell{}
	for _, cell := range Cells() {
		cells[cell.Name] = cell
	}
	for _, c := range []struct {
		cell      string
		rule      Rule
		low, high float64 // of the share rolled back
		requests  float64 // median, 0 for any
	}{
		{"10 % share, all fail", Flagger, 1, 1, 300}, // five intervals of a minute
		{"10 % share, all fail", Argo, 1, 1, 300},    // one of five minutes
		{"10 % share, all fail", Kayenta, 1, 1, 3000},
		{"10 % share, all fail", Fisher, 1, 1, 60},
		{"10 % share, all fail", Beta, 1, 1, 60},
		{"1 % share, 0.5 % fail", Flagger, .99, 1, 0},  // most minutes have no request
		{"10 % share, 2 % fail", Flagger, .9, 1, 0},    // one of six requests in a minute fails now and then
		{"10 % share, 2 % fail", Fisher, .1, .35, 0},   // 83 looks
		{"10 % share, 2 % fail", Beta, .25, .6, 0},     // as many
		{"50 % share, 0.5 % fail", Kayenta, 0, .02, 0}, // what it is made for
	} {
		t.Run(c.rule.String()+", "+c.cell, func(t *testing.T) {
			cell, known := cells[c.cell]
			require.True(t, known)
			result, err := Run(context.Background(), cell, 150, 1)
			require.NoError(t, err)
			got := result.Rules[c.rule]
			assert.GreaterOrEqual(t, got.Share, c.low)
			assert.LessOrEqual(t, got.Share, c.high)
			if c.requests > 0 {
				assert.Equal(t, c.requests, got.Requests)
			}
		})
	}
}

func TestTheSameSeedGivesTheSameResult(t *testing.T) {
	cell := Cells()[6]
	one, err := Run(context.Background(), cell, 20, 7)
	require.NoError(t, err)
	again, err := Run(context.Background(), cell, 20, 7)
	require.NoError(t, err)
	assert.Equal(t, one, again)
	other, err := Run(context.Background(), cell, 20, 8)
	require.NoError(t, err)
	assert.NotEqual(t, one, other)
}

func TestAStudyThatIsStoppedSaysHowFarItCame(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Run(ctx, Cells()[0], 20, 1)
	require.ErrorContains(t, err, `study "1 % share, 0.5 % fail": stopped after 0 of 20 runs`)
	require.ErrorIs(t, err, context.Canceled)
	_, err = RunRamp(ctx, Ramps()[0], 20, 1)
	require.ErrorIs(t, err, context.Canceled)
}

func TestWholeRamps(t *testing.T) {
	got := map[string]RampResult{}
	for _, ramp := range Ramps() {
		result, err := RunRamp(context.Background(), ramp, 10, 1)
		require.NoError(t, err)
		assert.Equal(t, 10, result.Finished+result.Worse+result.Unsure)
		got[ramp.Name] = result
	}
	assert.Equal(t, 10, got["600 users a minute, nobody fails"].Finished)
	assert.InDelta(t, 40.5, got["600 users a minute, nobody fails"].Minutes, .01, "the steps' times, the warm-up and the bake")
	assert.GreaterOrEqual(t, got["600 users a minute, 5 % fail"].Finished, 8)
	assert.Equal(t, 10, got["no users"].Unsure, "silence promotes nothing")
	assert.Equal(t, 10, got["600 users a minute, 0.5 % fail, 3 % on the canary"].Worse)
	assert.Equal(t, 10, got["600 users a minute, 0.5 % fail, all on the canary"].Worse)
	assert.Zero(t, got["60 users a minute, 0.5 % fail, 3 % on the canary"].Finished)
}

func TestTables(t *testing.T) {
	results := []Result{
		{Cell: "good", Healthy: true, Runs: 300, Rules: []RuleResult{{Rule: "ours", Rolled: 1, Share: 1. / 300, Interval: wilson(1, 300)}}},
		{Cell: "bad", Runs: 300, Rules: []RuleResult{{Rule: "ours", Rolled: 300, Share: 1, Requests: 27, BadUsers: 3}}},
		{Cell: "slow", Runs: 300, Rules: []RuleResult{{Rule: "ours"}}},
	}
	ramps := []RampResult{{Ramp: "many", Runs: 4, Finished: 3, Unsure: 1, Minutes: 40.5, BadUsers: 2}}
	var out strings.Builder
	require.NoError(t, Markdown(&out, results, ramps))
	assert.Equal(t, `Healthy canary: rolled back all the same (95 % interval), 300 runs a cell

| cell | ours |
| --- | --- |
| good | 0.33 % (0.06-1.9) |

Worse canary: rolled back; after how many requests to both slots; after how many users who failed, or waited, on the canary (medians), 300 runs a cell

| cell | ours |
| --- | --- |
| bad | 100.0 %; 27; 3 |
| slow | never |

The whole ramp with the default plan, 4 runs a line

| traffic | promoted | found worse | undecided, rolled back | median minutes | median users who failed on the canary |
| --- | --- | --- | --- | --- | --- |
| many | 75.0 % | 0.00 % | 25.0 % | 40 | 2 |
`, out.String())
}
