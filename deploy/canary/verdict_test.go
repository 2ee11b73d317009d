package canary

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVerdictsInWordsAndFigures(t *testing.T) {
	latency := "latency was not compared: no route had 60 answers from the stable release"
	need := Need{Exposure: 150, MaxExcess: .02}
	for _, c := range []struct {
		name    string
		judge   *Judge
		is      Word
		reasons []string
	}{
		{"nobody came", NewJudge(Options{}), Inconclusive, []string{
			"0 of the 150 users that this step needs were on the canary",
			"too few to see less than 100 %: none of 0 users on the canary saw an error (rule of three, at the price of looking always); 2 % more than on the stable release are allowed",
			latency,
		}},
		{"few came, none failed", seen(Options{}, 900, 0, 100, 0), Inconclusive, []string{
			"100 of the 150 users that this step needs were on the canary",
			"too few to see less than 4 %: none of 100 users on the canary saw an error (rule of three, at the price of looking always); 2 % more than on the stable release are allowed",
			latency,
		}},
		{"enough came, none failed", seen(Options{}, 1900, 0, 220, 0), Promote, []string{
			"0 of 220 users on the canary saw an error, 0 of 1900 on the stable release: at most 1.9 % more would (95 % sure), 2 % are allowed",
			latency,
		}},
		{"both fail alike, often", seen(Options{}, 3600, 360, 400, 36), Promote, []string{
			"36 of 396 users who saw an error were on the canary, which has 10 % of the users: the odds of an error are at most 1.7 times those on the stable release (95 % sure), 2 times are allowed",
			latency,
		}},
		{"two failed on the canary alone", seen(Options{}, 1800, 0, 250, 2), Inconclusive, []string{
			"suspected, not proven: 2 of 2 users who saw an error were on the canary, which has 10 % of the users: odds of 1 in 44 if it were as good as the stable release",
			"too few to exclude a worse release: 2 of 250 users on the canary saw an error, so up to 3.9 % may, and of the stable release's users 0 % or more do; 2 % more are allowed",
			latency,
		}},
		{"the fourth of five failures on the canary was enough", seen(Options{}, 900, 1, 100, 5), Rollback, []string{
			"4 of 5 users who saw an error were on the canary, which has 10 % of the users: odds of 1 in 460 if it were as good as the stable release",
			latency,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.judge.Verdict(need)
			assert.Equal(t, c.is, v.Is)
			assert.Equal(t, c.reasons, v.Reasons)
		})
	}
}

func TestAVerdictToRollBackIsFinal(t *testing.T) {
	j := seen(Options{}, 10, 0, 10, 4)
	require.Equal(t, Rollback, j.Verdict(Need{}).Is)
	for n := range 400 {
		j.Observe(request(1000+n, false, AppError))
	}
	require.Less(t, j.failures().E, 1., "the evidence has gone")
	assert.Equal(t, Rollback, j.Verdict(Need{Exposure: 1, MaxExcess: 1}).Is)
}

func TestMoreFailuresOnTheCanaryNeverMakeTheVerdictBetter(t *testing.T) {
	rank := map[Word]int{Promote: 0, Inconclusive: 1, Rollback: 2}
	random := seeded(11)
	for range 30 {
		stable, canary := 1+random.IntN(600), 1+random.IntN(300)
		stableFailed := random.IntN(stable) / 8
		need := Need{Exposure: 1 + random.IntN(canary), MaxExcess: .01 + .1*random.Float64()}
		last := -1
		for failed := 0; failed <= min(canary, 40); failed += 1 + random.IntN(3) {
			is := rank[seen(Options{}, stable, stableFailed, canary, failed).Verdict(need).Is]
			require.GreaterOrEqual(t, is, last, "%d of %d, %d of %d on the stable release", failed, canary, stableFailed, stable)
			last = is
		}
	}
}

func TestNothingIsPromotedOnSilence(t *testing.T) {
	generous := Need{MaxExcess: 1}
	assert.Equal(t, Inconclusive, NewJudge(Options{}).Verdict(generous).Is)
	assert.Equal(t, Inconclusive, seen(Options{}, 5000, 0, 0, 0).Verdict(generous).Is, "no user on the canary")
	assert.Equal(t, Promote, seen(Options{}, 0, 0, 1, 0).Verdict(generous).Is, "one is what was asked for")
}

func TestNumbersAsPeopleReadThem(t *testing.T) {
	for x, want := range map[float64]string{7.9: "7", 45.4: "45", 357: "350", 40_900: "40,000", 1_234_567: "1,200,000", 1e15: "more than a billion"} {
		assert.Equal(t, want, thousands(x))
	}
	for x, want := range map[float64]string{0: "0 %", .0234: "2.3 %", .5: "50 %", 1: "100 %", .00456: "0.46 %", .95: "95 %", .996: "100 %"} {
		assert.Equal(t, want, percent(x))
	}
	assert.Equal(t, "1 to 25 %", percents(.01, .25))
}
