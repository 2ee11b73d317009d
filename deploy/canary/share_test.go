package canary

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheBoundsOfAShareHoldAtAllTimesTogether(t *testing.T) {
	const runs, delta = 500, .05
	for _, share := range []float64{.002, .02, .3} {
		random, above, below := seeded(6), 0, 0
		for range runs {
			k, over, under := 0, false, false
			for n := 1; n <= 600; n++ {
				if random.Float64() < share {
					k++
				}
				if n%10 == 0 || n < 20 {
					over = over || UpperShare(k, n, delta) < share
					under = under || LowerShare(k, n, delta) > share
				}
			}
			if over {
				above++
			}
			if under {
				below++
			}
		}
		assert.LessOrEqual(t, above, 40, "upper bounds of %v that were once too low, of %d: three standard deviations above 5 %%", share, runs)
		assert.LessOrEqual(t, below, 40, "lower bounds of %v that were once too high, of %d", share, runs)
	}
}

func TestBoundsOfAShareAreOnItsSides(t *testing.T) {
	for _, n := range []int{1, 10, 500} {
		last := -1.0
		for k := 0; k <= n; k++ {
			seen := float64(k) / float64(n)
			upper, lower := UpperShare(k, n, .05), LowerShare(k, n, .05)
			assert.GreaterOrEqual(t, upper, seen)
			assert.LessOrEqual(t, lower, seen)
			assert.Greater(t, upper+1e-12, last, "more failures never lower the bound")
			last = upper
		}
	}
}

// The price of looking at all times, in the place of the rule of three's 3/n.
func TestNoFailureAmongManyUsersIsAboutAThirdMoreThanTheRuleOfThree(t *testing.T) {
	assert.Equal(t, 1., UpperShare(0, 0, .05))
	for _, n := range []int{50, 100, 200, 400} {
		assert.InDelta(t, 3.5, float64(n)*UpperShare(0, n, .05), .5, "%d users", n)
		exact := 1 - math.Pow(.05, 1/float64(n))
		assert.Greater(t, UpperShare(0, n, .05), exact, "one look is cheaper")
	}
}

func TestUsersToExcludeIsTheLeastNumberThatDoes(t *testing.T) {
	for _, x := range []float64{.5, .1, .02, .005} {
		n := UsersToExclude(x, .05)
		assert.LessOrEqual(t, UpperShare(0, n, .05), x)
		assert.Greater(t, UpperShare(0, n-1, .05), x)
	}
	assert.Equal(t, 1, UsersToExclude(1, .05))
}
