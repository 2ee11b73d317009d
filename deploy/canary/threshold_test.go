package canary

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheThresholdIsTheP95OfTheLastLatencies(t *testing.T) {
	random, of := seeded(7), threshold{}
	var all []time.Duration
	for n := 1; n <= 1500; n++ {
		latency := time.Duration(random.IntN(200)+1) * time.Millisecond // with ties
		of.learn(latency)
		all = append(all, latency)
		if n < estimateFrom {
			require.False(t, of.slow(time.Hour), "nothing is slow before there is an estimate")
			continue
		}
		last := slices.Sorted(slices.Values(all[max(0, n-kept):]))
		p95 := last[int(math.Ceil(.95*float64(len(last))))-1]
		require.Equal(t, p95, of.value(), "after %d", n)
		require.False(t, of.slow(p95))
		require.True(t, of.slow(p95+1))
	}

	text, err := json.Marshal(&of)
	require.NoError(t, err)
	var again threshold
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, of.value(), again.value())
	of.learn(1)
	again.learn(1)
	assert.Equal(t, of.Last, again.Last)
	assert.Equal(t, of.value(), again.value())
}
