package report

import (
	"time"

	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// waitAxis is what the bars of the readers, or of the writers, are drawn on, the same in all of a report: it ends at twice
// the budget, so that the middle is what is allowed. Without a budget it ends at the longest wait.
type waitAxis struct {
	who         string
	top, budget float64 // milliseconds; a budget of 0 is none
}

// thinnestWait is the share of the axis that the shortest wait takes: it must be seen.
const thinnestWait = 0.015

func newWaitAxes(r *rehearsal.Report) (reads, writes waitAxis) {
	reads = waitAxis{who: "readers", budget: float64(r.Budget.BlockedReads) / float64(time.Millisecond)}
	writes = waitAxis{who: "writers", budget: float64(r.Budget.BlockedWrites) / float64(time.Millisecond)}
	for _, m := range r.Migrations {
		reads.top, writes.top = max(reads.top, m.Predicted.BlockedReadsMS[1]), max(writes.top, m.Predicted.BlockedWritesMS[1])
	}
	for _, s := range r.Statements {
		reads.top, writes.top = max(reads.top, s.Predicted.BlockedReadsMS[1]), max(writes.top, s.Predicted.BlockedWritesMS[1])
	}
	for _, axis := range []*waitAxis{&reads, &writes} {
		if axis.budget > 0 {
			axis.top = 2 * axis.budget
		}
		axis.top = max(axis.top, 1)
	}
	return reads, writes
}

// waitBar is how long others waited, beside what the budget allows. Shares are of the axis.
type waitBar struct {
	Text   string
	Width  float64
	High   float64 // up to which it may be on the original
	Budget float64 // 0 for none
	Beyond bool    // it does not end on the axis
	Over   bool    // measured, or by the original's size, it is beyond the budget
	Label  string  // for those who do not see the bar
}

func (a waitAxis) bar(ms float64, predicted [2]float64) waitBar {
	b := waitBar{
		Text: millis(ms), High: clamp(predicted[1] / a.top), Budget: clamp(a.budget / a.top), Beyond: max(ms, predicted[1]) > a.top,
		Over:  a.budget > 0 && max(ms, predicted[0]) > a.budget,
		Label: a.who + " waited " + millis(ms),
	}
	if ms > 0 {
		b.Width = max(clamp(ms/a.top), thinnestWait)
	}
	if predicted[1] > 0 {
		b.Label += ", on the original " + between(predicted[0], predicted[1])
	}
	if a.budget > 0 {
		b.Label += "; the budget is " + millis(a.budget)
	}
	return b
}
