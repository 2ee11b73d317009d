package report

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStepsOfAnAxisAreRoundNumbers(t *testing.T) {
	for in, want := range map[float64]float64{0.3: 0.5, 1: 1, 1.1: 2, 3: 5, 7: 10, 49: 50, 0: 1, -1: 1, math.Inf(1): 1} {
		assert.InDelta(t, want, niceStep(in), 1e-9, "%v", in)
	}
	assert.NoError(t, quick.Check(func(v float64) bool {
		v = math.Abs(v)
		return v < 1e-300 || v > 1e300 || niceStep(v) >= v*0.999999 && niceStep(v) <= v*10.000001
	}, nil))
}

func TestTheTimelineShowsWhatRanAtTheSameTime(t *testing.T) {
	line := newTimeline(passedSample())
	rows := map[string]timelineRow{}
	for _, r := range line.Rows {
		rows[r.Name] = r
	}
	unit, property := rows["frontend/unit"], rows["frontend/property"]
	assert.Less(t, property.From, unit.To, "they overlap")
	assert.Equal(t, "cached", rows["secrets"].Took)
	assert.InDelta(t, 1, rows["verify"].To, 1e-6, "the axis ends with the last stage")
	assert.Equal(t, "0 s", line.Ticks[0].Text)
	assert.Nil(t, newTimeline(&Report{}))

	skipped := newTimeline(brokenSample()).Rows
	assert.False(t, skipped[len(skipped)-1].Drawn)
}

func TestABarIsAlwaysWithinItsAxis(t *testing.T) {
	assert.NoError(t, quick.Check(func(starts []int16, lengths []float64) bool {
		r := &Report{Started: began}
		for i, s := range starts {
			took := 0.0
			if i < len(lengths) {
				took = lengths[i]
			}
			if math.Abs(took) > 1e6 || math.IsNaN(took) {
				took = 3
			}
			r.Stages = append(r.Stages, Stage{Name: "s", Status: Passed, Started: began.Add(time.Duration(s) * time.Second), Seconds: took})
		}
		line := newTimeline(r)
		if line == nil {
			return len(starts) == 0
		}
		for _, row := range line.Rows {
			if row.From < 0 || row.To > 1 || row.Width() < thinnest*0.99 {
				return false
			}
		}
		return true
	}, nil))
}

var number = regexp.MustCompile(`-?\d+(?:\.\d+)?`)

func TestEveryCoordinateOfAChartIsWithinIt(t *testing.T) {
	law := func(at []float64, values []float64, failed []int8) bool {
		traffic := &Traffic{Marks: []Mark{{At: 1, Label: "switch"}}}
		for i, a := range at {
			p := Point{At: math.Mod(a, 1e5), Slot: []string{"blue", "green", "red"}[i%3], Requests: i}
			if i < len(values) {
				p.P50, p.P95 = math.Abs(math.Mod(values[i], 1e5)), math.Abs(math.Mod(values[i], 1e6))
			}
			if i < len(failed) {
				p.Failed = int(failed[i])
			}
			traffic.Points = append(traffic.Points, p)
		}
		c := newCharts(traffic)
		if c == nil {
			return true
		}
		for _, l := range c.Latency {
			for i, n := range number.FindAllString(l.Path, -1) {
				v, err := strconv.ParseFloat(n, 64)
				if err != nil || v < -0.01 && !strings.Contains(l.Path, "H") || v > chartWidth*2 && i >= 0 {
					return false
				}
			}
		}
		for _, b := range c.Bars {
			if b.Y < -0.01 || b.Y+b.H > rateHeight+0.01 || b.X < 0 || !finite(b.X+b.W+b.H) {
				return false
			}
		}
		return len(c.TimeTick) < 50 && len(c.MSTick) < 50 && len(c.RateTick) < 50
	}
	assert.NoError(t, quick.Check(law, nil))
}

func TestALineBreaksWhereASlotGotNoTraffic(t *testing.T) {
	c := newCharts(traffic(false))
	require.Len(t, c.Slots, 2)
	for _, l := range c.Latency {
		assert.Equal(t, 2, strings.Count(l.Path, "M"), "%s answered twice", l.Title)
	}
}

func TestOneSlowIntervalIsWrittenAtTheEdge(t *testing.T) {
	slow := traffic(false)
	slow.Points[0].P95 = 1172
	c := newCharts(slow)
	assert.Equal(t, []chartPeak{{At: c.Peaks[0].At, Anchor: "start", Text: "↑ 1,172 ms"}}, c.Peaks)
	assert.Equal(t, "20 ms", c.MSTick[len(c.MSTick)-1].Text, "the axis ends far below it")
	assert.Empty(t, newCharts(traffic(false)).Peaks)
}

func TestLabelsOfMarksDoNotTouch(t *testing.T) {
	c := newCharts(&Traffic{
		Points: traffic(false).Points,
		Marks:  []Mark{{At: 1, Label: "switch to green"}, {At: 1.1, Label: "roll back to blue"}, {At: 1.2, Label: "forward to green"}, {At: 12, Label: "the end of the traffic"}},
	})
	require.Len(t, c.Marks, 4)
	assert.Equal(t, []int{0, 1, 2, 0}, []int{c.Marks[0].Row, c.Marks[1].Row, c.Marks[2].Row, c.Marks[3].Row})
	assert.Equal(t, "end", c.Marks[3].Anchor, "a label at the right edge goes to the left of its line")
}

func TestTrafficWithoutPointsHasNoCharts(t *testing.T) {
	assert.Nil(t, newCharts(&Traffic{Requests: 3}))
	assert.Nil(t, newCharts(&Traffic{Points: []Point{{At: math.NaN()}}}))
}

func TestLocksAreNamedAsInTheManual(t *testing.T) {
	for mode, want := range map[string][2]string{
		"AccessExclusiveLock":      {"ACCESS EXCLUSIVE", "blocks reads and writes"},
		"ShareLock":                {"SHARE", "blocks writes"},
		"ShareRowExclusiveLock":    {"SHARE ROW EXCLUSIVE", "blocks writes"},
		"ShareUpdateExclusiveLock": {"SHARE UPDATE EXCLUSIVE", "blocks other schema changes"},
		"RowExclusiveLock":         {"ROW EXCLUSIVE", "blocks no reads or writes"},
		"AccessShareLock":          {"ACCESS SHARE", "blocks no reads or writes"},
	} {
		assert.Equal(t, want, [2]string{lockMode(mode), lockBlocks(mode)})
	}
}
