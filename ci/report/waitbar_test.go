package report

import (
	"math"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/migrations/rehearsal"
)

func TestABarOfAWaitIsWithinItsAxisAndTheBudgetInItsMiddle(t *testing.T) {
	law := func(budget uint16, waits []float64) bool {
		r := &rehearsal.Report{Budget: rehearsal.Budget{BlockedReads: time.Duration(budget) * time.Millisecond}}
		for _, w := range waits {
			w = math.Abs(math.Mod(w, 1e7))
			r.Statements = append(r.Statements, rehearsal.Statement{BlockedReadsMS: w, Predicted: rehearsal.Prediction{BlockedReadsMS: [2]float64{w, 3 * w}}})
		}
		axis, _ := newWaitAxes(r)
		for _, s := range r.Statements {
			b := axis.bar(s.BlockedReadsMS, s.Predicted.BlockedReadsMS)
			switch {
			case b.Width < 0, b.Width > 1, b.High < 0, b.High > 1:
				return false
			case s.BlockedReadsMS > 0 && b.Width < thinnestWait:
				return false
			case budget > 0 && (b.Budget != 0.5 || b.Over != (s.BlockedReadsMS > float64(budget))):
				return false
			case budget > 0 && b.Over != (b.Width > 0.5) && b.Width > thinnestWait:
				return false
			case budget == 0 && (b.Budget != 0 || b.Over || b.Beyond):
				return false
			}
		}
		return true
	}
	assert.NoError(t, quick.Check(law, nil))
}

func TestAWaitThatTheOriginalsSizeMakesTooLongIsOverBudget(t *testing.T) {
	axis := waitAxis{who: "readers", top: 400, budget: 200}
	b := axis.bar(5, [2]float64{400.5, 1201})
	assert.True(t, b.Over)
	assert.True(t, b.Beyond)
	assert.Equal(t, "readers waited 5.0 ms, on the original 401 ms to 1.2 s; the budget is 200 ms", b.Label)
	assert.False(t, axis.bar(5, [2]float64{5, 201}).Over, "what only the upper end exceeds is a warning")
	assert.Equal(t, "readers waited 0 ms; the budget is 200 ms", axis.bar(0, [2]float64{}).Label)
}
