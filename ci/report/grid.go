package report

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// grid is the table of statements in a terminal. Where a line has no room for a statement beside what was measured, it takes
// two lines; where two have none, columns are left out. Nothing wraps.
type grid struct {
	paint
	columns int
	report  *rehearsal.Report
	shown   []gridColumn
	text    int  // width of the statement
	single  bool // a line a statement
}

// gridColumn is what was measured of one kind.
type gridColumn struct {
	name  string
	right bool // numbers
	drop  int  // left out first where it is highest; 0 never
	cell  func(rehearsal.Statement) string
	paint func(rehearsal.Statement, string) string
	width int
}

// Widths of the grid.
const (
	gridIndent   = 2
	gridNumber   = 3
	gridGap      = 2
	gridVerdict  = 8  // "✗ refuse"
	gridSentence = 30 // of a statement, at least, beside what was measured
)

func newGrid(r *rehearsal.Report, statements []rehearsal.Statement, columns int, p paint) *grid {
	g := &grid{paint: p, columns: columns, report: r}
	g.shown = []gridColumn{
		{name: "class", drop: 3, cell: func(s rehearsal.Statement) string { return line(string(s.Class)) }},
		{name: "lock", cell: func(s rehearsal.Statement) string { return lockOf(r, s) }, paint: func(s rehearsal.Statement, text string) string {
			if lockBlocks(s.Lock) == "blocks reads and writes" {
				return p.yellow(text)
			}
			return text
		}},
		{name: "rewrite", drop: 1, cell: func(s rehearsal.Statement) string { return yes(s.Rewrite) }, paint: func(s rehearsal.Statement, text string) string {
			if s.Rewrite {
				return p.red(text)
			}
			return text
		}},
		{name: "scan", drop: 2, cell: func(s rehearsal.Statement) string { return yes(s.Scan) }},
		{name: "WAL", right: true, drop: 4, cell: func(s rehearsal.Statement) string { return size(s.WALBytes) }},
		{name: "reads", right: true, cell: func(s rehearsal.Statement) string { return bareMillis(s.BlockedReadsMS) },
			paint: func(s rehearsal.Statement, text string) string {
				return g.over(s.BlockedReadsMS, r.Budget.BlockedReads.Seconds(), text)
			}},
		{name: "writes", right: true, cell: func(s rehearsal.Statement) string { return bareMillis(s.BlockedWritesMS) },
			paint: func(s rehearsal.Statement, text string) string {
				return g.over(s.BlockedWritesMS, r.Budget.BlockedWrites.Seconds(), text)
			}},
	}
	for i := range g.shown {
		c := &g.shown[i]
		c.width = width(c.name)
		for _, s := range statements {
			c.width = max(c.width, width(c.cell(s)))
		}
	}
	left := gridIndent + gridNumber + gridGap
	g.text = columns - left - gridGap - g.measures() - gridGap - gridVerdict
	if g.single = g.text >= gridSentence; g.single {
		return g
	}
	g.text = columns - left - gridGap - gridVerdict
	for last := 4; left+g.measures() > columns && last > 0; last-- {
		for i, c := range g.shown {
			if c.drop == last {
				g.shown = append(g.shown[:i:i], g.shown[i+1:]...)
				break
			}
		}
	}
	return g
}

// measures is the width of what was measured.
func (g *grid) measures() int {
	n := -gridGap
	for _, c := range g.shown {
		n += gridGap + c.width
	}
	return n
}

// over is a time that is beyond the budget.
func (g *grid) over(ms, budget float64, text string) string {
	if budget > 0 && ms > budget*1000 {
		return g.red(text)
	}
	return text
}

// head are the lines above the statements. Waits are in milliseconds.
func (g *grid) head() []string {
	var names []string
	for _, c := range g.shown {
		names = append(names, align(c.name, c))
	}
	return g.lines(padLeft("#", gridNumber), "statement", strings.Join(names, "  "), "verdict")
}

func align(text string, c gridColumn) string {
	if c.right {
		return padLeft(text, c.width)
	}
	return pad(text, c.width)
}

// lines lays one statement out.
func (g *grid) lines(number, text, measures, verdict string) []string {
	start := strings.Repeat(" ", gridIndent) + number + "  " + pad(fit(text, g.text), g.text) + "  "
	if g.single {
		return []string{fit(start+measures+"  "+verdict, g.columns)}
	}
	return []string{fit(start+verdict, g.columns), fit(strings.Repeat(" ", gridIndent+gridNumber+gridGap)+measures, g.columns)}
}

// row are the lines of a statement.
func (g *grid) row(s rehearsal.Statement) []string {
	var cells []string
	for _, c := range g.shown {
		text := align(c.cell(s), c)
		if c.paint != nil {
			text = c.paint(s, text)
		}
		cells = append(cells, text)
	}
	verdict := g.word(s.Verdict) + " " + g.worded(s.Verdict, line(string(s.Verdict)))
	return g.lines(padLeft(fmt.Sprint(s.Number), gridNumber), line(s.SQL), strings.Join(cells, "  "), verdict)
}
