package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeasuresAreJudgedByTheirMedians(t *testing.T) {
	tests := []struct {
		name string
		got  Measure
		ok   bool
	}{
		{"one slow run does not count", runsAgainst("", "s", []float64{1, 100, 1}, []float64{1, 1, 1}, 1.5), true},
		{"two do", runsAgainst("", "s", []float64{1, 100, 100}, []float64{1, 1, 1}, 1.5), false},
		{"nothing may be lost, whatever a peer loses", against("", "a round", 1, 20, 0), false},
		{"nothing is lost where the peer loses nothing", against("", "a round", 0, 0, 0), true},
		{"fast enough", runsAtLeast("", "rows/s", []float64{1, 2, 3}, 2), true},
		{"too slow", runsAtLeast("", "rows/s", []float64{1, 1, 3}, 2), false},
		{"no bar", reported("", "s", []float64{9}, []float64{1}), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.ok, tt.got.OK)
			assert.Equal(t, !tt.ok, tt.got.cells()[6] == "MISSED")
		})
	}
}

func TestQuantiles(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[99-i] = float64(i + 1)
	}
	assert.Equal(t, []float64{50, 99, 100}, []float64{median(hundred), quantile(hundred, 0.99), quantile(hundred, 1)})
	assert.Equal(t, 2.0, median([]float64{3, 1, 2}))
	assert.Zero(t, median(nil))
}

func TestResultsOfAGroupStayUntilItIsMeasuredAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("bench", 0o755))
	require.NoError(t, os.Mkdir("docs", 0o755))
	group := func(name string, seconds float64) Group {
		return Group{Name: name, At: time.Unix(0, 0).UTC(), Seconds: seconds, Machine: "a machine", Measures: []Measure{against("x", "s", 1, 2, 1)}}
	}
	require.NoError(t, save([]Group{group("a", 1), group("b", 1)}))
	require.NoError(t, save([]Group{group("b", 2), group("c", 1)}))
	known, err := readResults()
	require.NoError(t, err)
	assert.Equal(t, []Group{group("a", 1), group("b", 2), group("c", 1)}, known)

	require.Error(t, writeDocument(), "there is none")
	text := "# Benchmarks\n" + begins + "old\n" + ends + "after\n"
	require.NoError(t, os.WriteFile(document, []byte(text), 0o644))
	for range 2 { // the second time nothing changes
		require.NoError(t, writeDocument())
		written, err := os.ReadFile(document)
		require.NoError(t, err)
		assert.NotContains(t, string(written), "old")
		assert.Contains(t, string(written), "\n**b**, 1 January 1970 00:00 UTC, 2 s. a machine.\n\n| measure | ours |")
		assert.Contains(t, string(written), "| x | 1.00 | 2.00 | s | 0.50 | at most 1.00 | ok |\n")
		assert.Contains(t, string(written), ends+"after\n")
	}
}
