package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The charts are drawn in units that the page stretches to its width; heights stay as they are. Text is placed by
// percent, outside the stretched part, and keeps its size.
const (
	chartWidth    = 1000.0
	latencyHeight = 180.0
	rateHeight    = 90.0
	markRows      = 3 // rows of labels above the charts
	chartSlots    = 4 // colours
	thinnestDrop  = 4.0
	headroom      = 1.08 // above the highest value
	outlier       = 4.0  // times the latency that nearly all intervals stay below
	mostPeaks     = 4    // labels of outliers
)

// charts are the pictures of the traffic: latency and request rate over time, by slot.
type charts struct {
	Slots    []chartSlot
	Latency  []chartLine
	Bars     []chartBar
	Drops    []chartBar // intervals in which requests were dropped
	Lost     []chartBar // the dropped requests among the others
	Peaks    []chartPeak
	Marks    []chartMark
	TimeTick []timelineTick
	MSTick   []timelineTick
	RateTick []timelineTick
	Summary  string // for those who do not see the pictures
	Points   []Point
	Height   float64
	Rate     float64
}

type chartSlot struct {
	Name  string
	Class string // "slot-0" …
}

type chartLine struct {
	Class, Path, Title string
}

type chartBar struct {
	Class      string
	X, Y, W, H float64
	Title      string
}

// chartPeak is a latency above the axis.
type chartPeak struct {
	At     float64 // share of the width
	Anchor string
	Text   string
}

type chartMark struct {
	Number int
	At     float64 // share of the width
	Row    int
	Y      float64
	Anchor string
	Mark
	When string
}

func newCharts(t *Traffic) *charts {
	points := slices.Clone(t.Points)
	for i := range points {
		points[i].Slot = line(points[i].Slot)
	}
	points = slices.DeleteFunc(points, func(p Point) bool {
		return !finite(p.At) || !finite(p.P50) || !finite(p.P95) || p.At < 0
	})
	if len(points) == 0 {
		return nil
	}
	slices.SortStableFunc(points, func(a, b Point) int { return compare(a.At, b.At) })
	c := &charts{Points: points, Height: latencyHeight, Rate: rateHeight}
	interval := intervalOf(points)
	end := points[len(points)-1].At + interval
	for _, m := range t.Marks {
		if finite(m.At) {
			end = max(end, m.At)
		}
	}
	x := func(at float64) float64 { return at / end * chartWidth }

	order := map[string]int{}
	highest := 0.0
	total := map[float64]int{}
	for _, p := range points {
		if _, known := order[p.Slot]; !known {
			order[p.Slot] = len(order)
			c.Slots = append(c.Slots, chartSlot{p.Slot, slotClass(p.Slot, order[p.Slot])})
		}
		highest = max(highest, p.P95, p.P50)
		total[p.At] += max(p.Requests, 0)
	}
	top := latencyTop(points, highest)
	msStep := niceStep(top / 4)
	for v := msStep; v <= top; v += msStep {
		c.MSTick = append(c.MSTick, timelineTick{1 - v/top, millis(v)})
	}
	busiest := 1
	for _, n := range total {
		busiest = max(busiest, n)
	}
	rateTop := float64(busiest) / interval * headroom
	rateStep := niceStep(rateTop / 2.5)
	for v := rateStep; v <= rateTop; v += rateStep {
		c.RateTick = append(c.RateTick, timelineTick{1 - v/rateTop, unit(v) + "/s"})
	}
	timeStep := niceStep(end / 6)
	for at := 0.0; at < end*0.97; at += timeStep {
		c.TimeTick = append(c.TimeTick, timelineTick{at / end, axisSeconds(at, timeStep)})
	}

	for _, slot := range c.Slots {
		own := slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return p.Slot != slot.Name })
		for _, q := range []struct {
			name string
			of   func(Point) float64
		}{{"p95", func(p Point) float64 { return p.P95 }}, {"p50", func(p Point) float64 { return p.P50 }}} {
			path := pathOf(own, interval, func(p Point) (float64, float64) {
				return x(p.At + interval/2), latencyHeight * (1 - min(q.of(p)/top, 1))
			}, x(interval)/2)
			c.Latency = append(c.Latency, chartLine{slot.Class + " " + q.name, path, slot.Name + ", " + q.name})
		}
	}
	stack := map[float64]float64{}
	for _, p := range points {
		height := float64(max(p.Requests, 0)) / interval / rateTop * rateHeight
		c.Bars = append(c.Bars, chartBar{
			Class: slotClass(p.Slot, order[p.Slot]), X: x(p.At) + 0.6, W: max(x(interval)-1.2, 0.8),
			Y: rateHeight - stack[p.At] - height, H: height,
			Title: fmt.Sprintf("%s at %s: %s, %d dropped, p95 %s", p.Slot, seconds(p.At), plural(p.Requests, "request"), p.Failed, millis(p.P95)),
		})
		stack[p.At] += height
		if p.Failed > 0 {
			title := fmt.Sprintf("%s dropped by %s at %s", plural(p.Failed, "request"), p.Slot, seconds(p.At))
			c.Drops = append(c.Drops, chartBar{X: x(p.At), W: max(x(interval), 2), Title: title})
			share := max(float64(p.Failed)/interval/rateTop*rateHeight, thinnestDrop)
			c.Lost = append(c.Lost, chartBar{X: x(p.At) + 0.6, W: max(x(interval)-1.2, 0.8), Y: max(rateHeight-stack[p.At], 0), H: share, Title: title})
		}
	}
	c.peaks(points, top, interval, end)
	c.mark(t.Marks, end)
	c.Summary = c.summary(t, end)
	return c
}

// latencyTop is the upper end of the latency axis. One slow interval, such as the first after a start, must not press all
// others to the ground: where it is an outlier, the axis ends below it and its value is written at the edge.
func latencyTop(points []Point, highest float64) float64 {
	values := make([]float64, 0, len(points))
	for _, p := range points {
		values = append(values, p.P95)
	}
	slices.Sort(values)
	usual := values[(len(values)-1)*9/10]
	if usual > 0 && highest > usual*outlier {
		highest = usual * outlier / 2
	}
	return max(highest, 1) * headroom
}

// peaks labels what is above the axis, the highest first.
func (c *charts) peaks(points []Point, top, interval, end float64) {
	over := slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return p.P95 <= top })
	slices.SortStableFunc(over, func(a, b Point) int { return compare(b.P95, a.P95) })
	const width = 0.12 // of a label
	for _, p := range over {
		peak := chartPeak{At: clamp((p.At + interval/2) / end), Anchor: "start", Text: "↑ " + millis(p.P95)}
		if peak.At > 1-width {
			peak.Anchor = "end"
		}
		touches := slices.ContainsFunc(c.Peaks, func(q chartPeak) bool { return math.Abs(q.At-peak.At) < width })
		if !touches && len(c.Peaks) < mostPeaks {
			c.Peaks = append(c.Peaks, peak)
		}
	}
}

// mark places the marks; labels that would touch go to another row.
func (c *charts) mark(marks []Mark, end float64) {
	free := [markRows]float64{}
	const perLetter, gap = 0.0095, 0.025 // shares of the width that a letter takes in the narrowest page with labels
	sorted := slices.SortedStableFunc(slices.Values(marks), func(a, b Mark) int { return compare(a.At, b.At) })
	for _, m := range sorted {
		if !finite(m.At) || m.At < 0 {
			continue
		}
		m.Label = line(m.Label)
		mark := chartMark{Number: len(c.Marks) + 1, At: clamp(m.At / end), Anchor: "start", Mark: m, When: seconds(m.At)}
		length := float64(len(m.Label))*perLetter + gap
		from, to := mark.At, mark.At+length
		if to > 1 {
			mark.Anchor, from, to = "end", mark.At-length, mark.At
		}
		for mark.Row < markRows-1 && free[mark.Row] > from {
			mark.Row++
		}
		free[mark.Row] = to
		mark.Y = float64(14 + 16*mark.Row)
		c.Marks = append(c.Marks, mark)
	}
}

// summary says in words what the pictures show.
func (c *charts) summary(t *Traffic, end float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s over %s, %s dropped.", plural(t.Requests, "request"), seconds(end), count(t.Failed))
	for _, s := range c.Slots {
		requests, worst := 0, 0.0
		for _, p := range c.Points {
			if p.Slot == s.Name {
				requests += p.Requests
				worst = max(worst, p.P95)
			}
		}
		fmt.Fprintf(&b, " %s answered %s, its highest p95 was %s.", s.Name, count(requests), millis(worst))
	}
	for _, m := range c.Marks {
		fmt.Fprintf(&b, " %s at %s.", m.Label, m.When)
	}
	return b.String()
}

// pathOf draws a line through points, with a gap where intervals are missing. A point alone is a short level line.
func pathOf(points []Point, interval float64, place func(Point) (x, y float64), half float64) string {
	var b strings.Builder
	for i := 0; i < len(points); {
		j := i + 1
		for j < len(points) && points[j].At-points[j-1].At < interval*1.5 {
			j++
		}
		if j == i+1 {
			x, y := place(points[i])
			fmt.Fprintf(&b, "M%s %sH%s", unit(x-half), unit(y), unit(x+half))
		}
		for k := i; k < j && j > i+1; k++ {
			x, y := place(points[k])
			fmt.Fprintf(&b, "%c%s %s", "ML"[min(k-i, 1)], unit(x), unit(y))
		}
		i = j
	}
	return b.String()
}

// intervalOf is the shortest distance between two moments of the traffic.
func intervalOf(points []Point) float64 {
	shortest := math.Inf(1)
	for i := 1; i < len(points); i++ {
		if d := points[i].At - points[i-1].At; d > 1e-6 {
			shortest = min(shortest, d)
		}
	}
	if math.IsInf(shortest, 0) {
		return 1
	}
	return shortest
}

// slotClass gives the slots named after colours their own, others the next one.
func slotClass(name string, order int) string {
	switch name {
	case "blue", "green":
		return "slot-" + name
	default:
		return fmt.Sprintf("slot-%d", order%chartSlots)
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
