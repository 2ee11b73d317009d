package backfill

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBatchesFollowWhatTheyDoToOthers(t *testing.T) {
	const limit = 100 * time.Millisecond
	for _, tt := range []struct {
		name          string
		batch         int
		held, blocked time.Duration
		want          int
		why           string
	}{
		{"a quick one is followed by one that is a quarter larger", 1000, 49 * time.Millisecond, 0, 1250, ""},
		{"the smallest can grow", 1, time.Millisecond, 0, 2, ""},
		{"none is larger than ten times what is declared", 9000, time.Millisecond, 0, 10000, ""},
		{"one near the limit is repeated", 1000, 50 * time.Millisecond, 0, 1000, ""},
		{"one at the limit is repeated", 1000, limit, 0, 1000, ""},
		{"one beyond the limit is halved", 1000, limit + 1, 0, 500, "a batch of 1000 rows took 100ms"},
		{"a quick one that made somebody wait does not grow", 1000, 10 * time.Millisecond, 60 * time.Millisecond, 1000, ""},
		{"one that made somebody wait for too long is halved", 1000, 300 * time.Millisecond, 150 * time.Millisecond, 500, "another session waited 150ms for a batch of 1000 rows"},
		{"none is smaller than a row", 1, time.Hour, 0, 1, "a batch of 1 rows took 1h0m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPace(tt.batch, 1000, limit)
			assert.Equal(t, tt.why, p.took(tt.held, tt.blocked))
			assert.Equal(t, tt.want, p.batch)
		})
	}
}

// Where a row costs the same whatever the batch is, batches end up below the limit, and above a quarter of it where the
// greatest size allows.
func TestBatchesSettleBelowTheLimit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		limit := time.Duration(1+random.IntN(1000)) * time.Millisecond
		perRow := time.Duration(1 + random.Int64N(int64(time.Millisecond)))
		p := newPace(1+random.IntN(100_000), 1+random.IntN(10_000), limit)
		for range 200 {
			p.took(time.Duration(p.batch)*perRow, 0)
		}
		held := time.Duration(p.batch) * perRow
		assert.True(t, held <= limit || p.batch == 1, "%s per row, limit %s, %d rows", perRow, limit, p.batch)
		assert.True(t, held >= limit/4 || p.batch == p.most, "%s per row, limit %s, %d rows", perRow, limit, p.batch)
	}
}

func TestLargestDeclarationDoesNotOverflow(t *testing.T) {
	p := newPace(math.MaxInt, math.MaxInt, time.Second)
	assert.Equal(t, math.MaxInt, p.batch)
}

func TestPauseGrowsWhereOthersWereKeptWaiting(t *testing.T) {
	p := newPace(1, 1, time.Second)
	assert.Equal(t, time.Duration(0), p.pause(0, time.Minute, 0))
	assert.Equal(t, time.Second, p.pause(time.Second, time.Minute, 0))
	assert.Equal(t, time.Minute, p.pause(time.Second, time.Minute, time.Millisecond))
	assert.Equal(t, time.Hour, p.pause(time.Hour, time.Minute, time.Millisecond))
}

func TestPausesBeforeAnotherAttemptDoubleUpToALimit(t *testing.T) {
	for attempt, whole := range map[int]time.Duration{1: firstPause, 2: 2 * firstPause, 6: 32 * firstPause, 7: longestPause, 11: longestPause, 64: longestPause, math.MaxInt: longestPause} {
		assert.Equal(t, whole/2, again(attempt, 0), "attempt %d", attempt)
		assert.InDelta(t, float64(whole), float64(again(attempt, 0.999999999)), float64(time.Microsecond), "attempt %d", attempt)
	}
}

func TestEstimates(t *testing.T) {
	for _, tt := range []struct {
		name     string
		p        Progress
		fraction float64
		left     time.Duration
	}{
		{"half way", Progress{State: Running, Total: 200, seen: 100, Rate: 50}, 0.5, 2 * time.Second},
		{"more rows than were estimated", Progress{State: Running, Total: 200, seen: 300, Rate: 50}, 0.99, 0},
		{"an empty table", Progress{State: Running}, 0, 0},
		{"before the first batch", Progress{State: Running, Total: 200}, 0, 0},
		{"done, whatever was estimated", Progress{State: Done, Total: 200, seen: 100, Rate: 50}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.estimate()
			assert.InDelta(t, tt.fraction, tt.p.Fraction, 0.001)
			assert.Equal(t, tt.left, tt.p.Left)
		})
	}
}
