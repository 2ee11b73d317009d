package report

import (
	"math"
	"time"
)

// timeline is the Gantt chart: a row for each stage and step, on one axis of time.
type timeline struct {
	Rows  []timelineRow
	Ticks []timelineTick
}

type timelineRow struct {
	Stage
	Inner    bool    // a step
	From, To float64 // shares of the axis
	Drawn    bool    // it took time in this run
	Took     string
	Label    string // for those who do not see the bar
}

type timelineTick struct {
	At   float64 // share of the axis
	Text string
}

// thinnest is the share of the axis that the shortest bar takes: it must be seen.
const thinnest = 0.006

func newTimeline(r *Report) *timeline {
	if len(r.Stages) == 0 {
		return nil
	}
	begin, end := r.Started, time.Time{}
	if begin.IsZero() {
		begin = r.Stages[0].Started
	}
	each := func(visit func(s Stage, inner bool)) {
		for _, stage := range r.Stages {
			visit(stage, false)
			for _, step := range stage.Steps {
				visit(step, true)
			}
		}
	}
	each(func(s Stage, _ bool) {
		if s.Started.IsZero() {
			return
		}
		if s.Started.Before(begin) {
			begin = s.Started
		}
		if e := s.ended(); e.After(end) {
			end = e
		}
	})
	whole := max(end.Sub(begin).Seconds(), 0.001)

	t := &timeline{}
	step := niceStep(whole / 5)
	for at := 0.0; at < whole*0.999; at += step {
		t.Ticks = append(t.Ticks, timelineTick{at / whole, axisSeconds(at, step)})
	}
	each(func(s Stage, inner bool) {
		row := timelineRow{Stage: s, Inner: inner, Took: seconds(s.Seconds)}
		switch {
		case s.Cached:
			row.Took = "cached"
		case s.Status == Skipped:
			row.Took = "skipped"
		}
		if row.Drawn = !s.Started.IsZero() && s.Status != Skipped; row.Drawn {
			row.From = clamp(s.Started.Sub(begin).Seconds() / whole)
			row.To = min(max(s.ended().Sub(begin).Seconds()/whole, row.From+thinnest), 1)
			row.From = min(row.From, 1-thinnest)
			row.Label = "from " + seconds(s.Started.Sub(begin).Seconds()) + " to " + seconds(s.ended().Sub(begin).Seconds())
		}
		t.Rows = append(t.Rows, row)
	})
	return t
}

// Width is the length of a row's bar, as a share of the axis.
func (r timelineRow) Width() float64 { return r.To - r.From }

func (s Stage) ended() time.Time {
	return s.Started.Add(time.Duration(max(s.Seconds, 0) * float64(time.Second)))
}

// niceStep is the round number at or above a length: 1, 2 or 5 times a power of ten.
func niceStep(length float64) float64 {
	if length <= 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(length)))
	for _, factor := range []float64{1, 2, 5} {
		if length <= factor*power*1.0000001 {
			return factor * power
		}
	}
	return 10 * power
}

// axisSeconds labels a moment on an axis.
func axisSeconds(at, step float64) string {
	switch {
	case at == 0:
		return "0 s"
	case step < 1:
		return seconds(at)
	case at < 100:
		return unit(at) + " s"
	default:
		return seconds(at)
	}
}

func clamp(share float64) float64 {
	if math.IsNaN(share) {
		return 0
	}
	return min(max(share, 0), 1)
}
