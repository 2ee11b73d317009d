package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Bound is what a measure's bar means.
type Bound string

// The bounds.
const (
	AtMost  Bound = "at most"
	AtLeast Bound = "at least"
	NoBar   Bound = "no bar" // only reported
)

// Measure is one line of the table.
type Measure struct {
	Name     string    `json:"name"`
	Ours     float64   `json:"ours"` // the median where there were several runs
	Peer     float64   `json:"peer"` // 0 where the bar is a number and not a ratio
	Unit     string    `json:"unit"`
	Ratio    float64   `json:"ratio"` // ours / peer; ours where there is no peer
	Bar      float64   `json:"bar"`
	Bound    Bound     `json:"bound"`
	OK       bool      `json:"ok"`
	OursRuns []float64 `json:"ours_runs,omitempty"`
	PeerRuns []float64 `json:"peer_runs,omitempty"`
}

// against compares with a peer: ours may be at most bar times the peer's.
func against(name, unit string, ours, peer, bar float64) Measure {
	return Measure{Name: name, Unit: unit, Ours: ours, Peer: peer, Ratio: ratio(ours, peer), Bar: bar, Bound: AtMost, OK: ours <= bar*peer}
}

// atMost compares with a number.
func atMost(name, unit string, ours, bar float64) Measure {
	return Measure{Name: name, Unit: unit, Ours: ours, Ratio: ours, Bar: bar, Bound: AtMost, OK: ours <= bar}
}

// runsAgainst compares the medians of several runs.
func runsAgainst(name, unit string, ours, peer []float64, bar float64) Measure {
	m := against(name, unit, median(ours), median(peer), bar)
	m.OursRuns, m.PeerRuns = ours, peer
	return m
}

// runsAtLeast compares the median of several runs with a number.
func runsAtLeast(name, unit string, ours []float64, bar float64) Measure {
	m := median(ours)
	return Measure{Name: name, Unit: unit, Ours: m, Ratio: m, Bar: bar, Bound: AtLeast, OK: m >= bar, OursRuns: ours}
}

// reported is a comparison without a bar.
func reported(name, unit string, ours, peer []float64) Measure {
	m := runsAgainst(name, unit, ours, peer, 0)
	m.Bound, m.OK = NoBar, true
	return m
}

// ratio is 0 where there is nothing to compare with.
func ratio(ours, peer float64) float64 {
	if peer == 0 {
		return 0
	}
	return ours / peer
}

func median(runs []float64) float64 { return quantile(runs, 0.5) }

// quantile is the smallest value that so many of the values do not exceed; of an even number of runs, the median is the
// lower of the two in the middle.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	for i, v := range sorted {
		if float64(i+1) >= q*float64(len(sorted)) {
			return v
		}
	}
	return sorted[len(sorted)-1]
}

// figure is a value, and the least and the most of its runs.
func figure(value float64, runs []float64) string {
	if len(runs) < 2 {
		return number(value)
	}
	return fmt.Sprintf("%s (%s–%s)", number(value), number(slices.Min(runs)), number(slices.Max(runs)))
}

// number has the digits that say something.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.1:
		return fmt.Sprintf("%.4f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// header is the columns of cells.
var header = []string{"measure", "ours", "peer", "unit", "ratio", "bar", ""}

// cells are a measure's.
func (m Measure) cells() []string {
	peer, ratio, bar, verdict := "–", "–", "–", "ok"
	if m.Peer != 0 || len(m.PeerRuns) > 0 {
		peer, ratio = figure(m.Peer, m.PeerRuns), number(m.Ratio)
	}
	if m.Bound == NoBar {
		verdict = ""
	} else {
		bar = string(m.Bound) + " " + number(m.Bar)
	}
	if !m.OK {
		verdict = "MISSED"
	}
	return []string{m.Name, figure(m.Ours, m.OursRuns), peer, m.Unit, ratio, bar, verdict}
}

func printTable(out io.Writer, results []Group) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(header, "\t")))
	for _, g := range results {
		for _, m := range g.Measures {
			fmt.Fprintln(w, strings.Join(m.cells(), "\t"))
		}
	}
	_ = w.Flush()
}
