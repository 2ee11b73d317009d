package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func TestWaitsThatOverlapATimeAreWithinIt(t *testing.T) {
	before, into, inside, across, after := wait{at(0), at(9)}, wait{at(0), at(11)}, wait{at(12), at(13)}, wait{at(0), at(99)}, wait{at(21), at(22)}
	assert.Equal(t, []wait{into, inside, across}, within([]wait{before, into, inside, across, after}, at(10), at(20)))
}

func TestWhoWouldHaveAskedMeanwhileHasWaitedToo(t *testing.T) {
	assert.Equal(t, []float64{1}, asked([]wait{{at(0), at(1)}}), "nobody came meanwhile")
	assert.Equal(t, []float64{7, 5, 3}, asked([]wait{{at(0), at(7)}}))
	// A second of waiting in ten is a tenth of all who come, not one question in a thousand.
	waits := []wait{{at(0), at(1000)}}
	for ms := 1000; ms < 10000; ms += 2 {
		waits = append(waits, wait{at(ms), at(ms)})
	}
	assert.InDelta(t, 500, quantile(asked(waits), 0.95), 10)
	assert.Zero(t, quantile(lengths(waits), 0.95))
}

func TestPgbenchsLogIsRead(t *testing.T) {
	waits, err := readLog("0 1 2500 0 1700000000 500 40\n3 7 1000000 0 1700000002 0 999000\n")
	require.NoError(t, err)
	assert.Equal(t, []float64{2.5, 1000}, lengths(waits))
	assert.Equal(t, time.Unix(1700000000, 500_000), waits[0].end)
	for _, bad := range []string{"", "0 1 2500 0 1700000000 500\n", "0 1 failed 0 1700000000 500 40\n"} {
		_, err := readLog(bad)
		require.Error(t, err, "%q", bad)
	}
}
