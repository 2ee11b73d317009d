package traffic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/require"
)

var dawn = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestAPercentileIsOffByOnePercentAtMost(t *testing.T) {
	law := func(seed uint64, size uint16) bool {
		random := rand.New(rand.NewPCG(seed, 1))
		var h histogram
		exact := make([]float64, 1+int(size)%2000)
		for i := range exact {
			latency := time.Duration(float64(time.Microsecond) * 20 * math.Exp(random.Float64()*13)) // 20 µs to 9 s
			exact[i] = latency.Seconds() * 1000
			h.add(latency)
		}
		slices.Sort(exact)
		for i, q := range h.quantiles(.5, .95, .99, 1) {
			share := []float64{.5, .95, .99, 1}[i]
			want := exact[max(0, int(math.Ceil(share*float64(len(exact))))-1)]
			if math.Abs(q-want) > .011*want+.001 {
				return false
			}
		}
		return true
	}
	require.NoError(t, quick.Check(law, &quick.Config{MaxCount: 200}))
}

func TestMergingIsAddingAll(t *testing.T) {
	law := func(a, b []uint32) bool {
		var first, second, all histogram
		for _, n := range a {
			first.add(time.Duration(n))
			all.add(time.Duration(n))
		}
		for _, n := range b {
			second.add(time.Duration(n))
			all.add(time.Duration(n))
		}
		first.merge(second)
		return slices.Equal(first.quantiles(.1, .5, .9), all.quantiles(.1, .5, .9)) && first.n == all.n
	}
	require.NoError(t, quick.Check(law, nil))
}

func TestNoSamplesHaveNoPercentile(t *testing.T) {
	var h histogram
	require.Equal(t, []float64{0, 0}, h.quantiles(.5, .99))
}

// A day of traffic, with a server that answers a new slot name and a new error every time.
func TestALedgerStaysSmall(t *testing.T) {
	l := newLedger(8)
	l.begin(dawn)
	total := 0
	for at := time.Duration(0); at < 24*time.Hour; at += 500 * time.Millisecond {
		due := dawn.Add(at)
		l.add(sample{due: due, ended: due.Add(time.Duration(total%977) * time.Millisecond), slot: fmt.Sprint("slot", total), failure: fmt.Sprint("e", total)})
		l.mark(due, "mark")
		total++
	}
	require.LessOrEqual(t, len(l.points), maxPoints*(maxSlots+1))
	require.LessOrEqual(t, len(l.slots), maxSlots+1)
	require.LessOrEqual(t, len(l.errors), maxErrors+1)
	out := l.result()
	require.Equal(t, total, out.Requests)
	require.Equal(t, total, out.Failed)
	require.Len(t, out.Marks, maxMarks)
	sum, failed, last := 0, 0, -1.0
	for _, p := range out.Points {
		sum, failed = sum+p.Requests, failed+p.Failed
		require.GreaterOrEqual(t, p.At, last)
		last = p.At
	}
	require.Equal(t, total, sum)
	require.Equal(t, total, failed)
}

func TestPointsAreQuartersOfASecondOfEachSlot(t *testing.T) {
	l := newLedger(1)
	l.begin(dawn)
	for i, s := range []string{"blue", "blue", "green", "green"} {
		due := dawn.Add(time.Duration(i) * 130 * time.Millisecond) // 0, 130 | 260, 390
		l.add(sample{due: due, ended: due.Add(10 * time.Millisecond), slot: s})
	}
	l.add(sample{due: dawn.Add(260 * time.Millisecond), ended: dawn.Add(10 * time.Second), failure: "timeout"})
	l.mark(dawn.Add(250*time.Millisecond), "switch")
	out := l.result()
	require.Len(t, out.Points, 3)
	require.Equal(t, 0.0, out.Points[0].At)
	require.Equal(t, "blue", out.Points[0].Slot)
	require.Equal(t, 2, out.Points[0].Requests)
	require.Equal(t, "", out.Points[1].Slot, "nobody answered")
	require.Equal(t, 1, out.Points[1].Failed)
	require.Equal(t, 0.25, out.Points[2].At)
	require.InEpsilon(t, 10, out.Points[2].P95, .01)
	require.Equal(t, 0.25, out.Marks[0].At)
	require.Equal(t, map[string]int{"timeout": 1}, out.Errors)
}
