package backfill

import (
	"fmt"
	"math"
	"time"
)

// growth is how far batches grow beyond what the file declares: as far as they stay quick, for a batch costs a commit.
const growth = 10

// The pauses before a batch is tried again double, between these.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// pace adapts the size of batches to what they do to others: half as large after one that kept locks for longer than the
// limit, a quarter larger after one that was done in half of it.
type pace struct {
	batch int // rows in the next one
	most  int
	limit time.Duration
}

func newPace(batch, declared int, limit time.Duration) pace {
	most := declared
	if declared <= math.MaxInt/growth {
		most *= growth
	}
	return pace{batch: min(max(batch, 1), most), most: most, limit: limit}
}

// took learns from a batch that kept its locks for some time, and made another session wait for some of it. It says why the
// next one is smaller, if it is.
func (p *pace) took(held, blocked time.Duration) (why string) {
	switch {
	case blocked > p.limit:
		why = fmt.Sprintf("another session waited %s for a batch of %d rows", blocked.Round(time.Millisecond), p.batch)
		p.halve()
	case held > p.limit:
		why = fmt.Sprintf("a batch of %d rows took %s", p.batch, held.Round(time.Millisecond))
		p.halve()
	case max(held, blocked) < p.limit/2:
		p.batch = min(p.batch+max(p.batch/4, 1), p.most)
	}
	return why
}

// halve is for a batch that had to be given up, too.
func (p *pace) halve() { p.batch = max(p.batch/2, 1) }

// pause is how long to let others work after a batch: as declared, and where the batch kept somebody waiting at least as
// long as it took, so that a queue it made can drain.
func (p *pace) pause(declared, held, blocked time.Duration) time.Duration {
	if blocked > 0 {
		return max(declared, held)
	}
	return declared
}

// again is how long to wait before a batch is tried again, after so many attempts: between half of the doubled pause and
// the whole of it.
func again(attempts int, random float64) time.Duration {
	whole := longestPause
	if shift := attempts - 1; shift < 10 {
		whole = min(firstPause<<shift, longestPause)
	}
	return whole/2 + time.Duration(random*float64(whole/2))
}
