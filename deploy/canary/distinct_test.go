package canary

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDifferentCohortsAreCountedOnce(t *testing.T) {
	var d distinct
	for range 3 {
		for i := range 1000 {
			d.add(keyOf("user-" + strconv.Itoa(i)))
		}
	}
	assert.Equal(t, 1000, d.count())
}

func TestManyCohortsAreCountedWithinThreePercentInBoundedMemory(t *testing.T) {
	const n = 300_000
	var up, down distinct
	for i := range n {
		up.add(keyOf("user-" + strconv.Itoa(i)))
		down.add(keyOf("user-" + strconv.Itoa(n-1-i)))
	}
	assert.InEpsilon(t, n, up.count(), .03)
	assert.LessOrEqual(t, len(up.Kept), mostKept)
	assert.Equal(t, up, down, "the order makes no difference")

	text, err := json.Marshal(up)
	require.NoError(t, err)
	var again distinct
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, up, again)
}

func TestASetThatWasCutIsRefused(t *testing.T) {
	var k keys
	require.ErrorContains(t, k.UnmarshalText([]byte("AAAA")), "no multiple of 8")
	require.ErrorContains(t, k.UnmarshalText([]byte("!")), "read set of cohorts")
}
