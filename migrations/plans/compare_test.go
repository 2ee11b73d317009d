package plans

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// made is a set with one plan.
func made(plan Plan) *Set {
	plan.SQL = "SELECT 1"
	return &Set{
		Settings: map[string]string{"work_mem": "4MB", "hash_mem_multiplier": "2"}, Plans: map[string]Plan{plan.SQL: plan}, timeout: 5 * time.Second,
		pages:   map[statement.Name]int64{{Schema: "public", Name: "large"}: largeTable, {Schema: "public", Name: "small"}: largeTable - 1},
		indexes: map[statement.Name]string{{Schema: "public", Name: "i"}: "CREATE INDEX i", {Schema: "public", Name: "j"}: "CREATE INDEX j"},
	}
}

// node is a step on a table.
func node(kind, table string, cost float64, below ...*Node) *Node {
	n := &Node{Type: kind, Cost: cost, Plans: below}
	if table != "" {
		n.Schema, n.Relation = "public", table
	}
	return n
}

func (n *Node) with(change func(*Node)) *Node {
	change(n)
	return n
}

func looksUp(index string) func(*Node) {
	return func(n *Node) { n.Index, n.IndexCond = index, "(a = $1)" }
}

func readsAll(index string) func(*Node) { return func(n *Node) { n.Index = index } }

func TestRegressionIsToldByWhatGotWorse(t *testing.T) {
	const unknown = -1
	lookup := func(cost float64) *Node { return node("Index Scan", "large", cost).with(looksUp("i")) }
	tests := []struct {
		name          string
		before, after Plan
		kind          Kind // "" for none
		level         finding.Level
	}{
		{"nothing differs", Plan{Root: lookup(100)}, Plan{Root: lookup(100)}, "", ""},
		{"an estimate within ANALYZE's noise", Plan{Root: lookup(10000), Blocks: unknown}, Plan{Root: lookup(10999), Blocks: unknown}, "", ""},
		{"an estimate beyond it", Plan{Root: lookup(10000), Blocks: unknown}, Plan{Root: lookup(11000), Blocks: unknown}, Cost, finding.Warn},
		{"much more of next to nothing", Plan{Root: lookup(1), Blocks: 1}, Plan{Root: lookup(100), Blocks: 100}, "", ""},
		{"a plan of the same shape that costs a hundred times as much", Plan{Root: lookup(100), Blocks: 100}, Plan{Root: lookup(10000), Blocks: 10000}, Cost, finding.Warn},
		{"more pages for the same cost", Plan{Root: lookup(100), Blocks: 1000}, Plan{Root: lookup(100), Blocks: 1200}, Blocks, finding.Warn},
		{"a few more pages", Plan{Root: lookup(100), Blocks: 1000}, Plan{Root: lookup(100), Blocks: 1199}, "", ""},
		{"a large table read as a whole", Plan{Root: lookup(100), Blocks: 100}, Plan{Root: node("Seq Scan", "large", 200), Blocks: 200}, SeqScan, finding.Refuse},
		{"the same, but the pages are not twice as many", Plan{Root: lookup(100), Blocks: 100}, Plan{Root: node("Seq Scan", "large", 200), Blocks: 199}, SeqScan, finding.Warn},
		{"the same, but the estimate is not twice as high", Plan{Root: lookup(1000), Blocks: 100}, Plan{Root: node("Seq Scan", "large", 1999), Blocks: 200}, SeqScan, finding.Warn},
		{"the same, unmeasured and ten times as high", Plan{Root: lookup(100), Blocks: unknown}, Plan{Root: node("Seq Scan", "large", 1000), Blocks: unknown}, SeqScan, finding.Refuse},
		{"the same, unmeasured and five times as high", Plan{Root: lookup(100), Blocks: unknown}, Plan{Root: node("Seq Scan", "large", 500), Blocks: unknown}, SeqScan, finding.Warn},
		{"a large table read as a whole for less", Plan{Root: lookup(10000), Blocks: 100}, Plan{Root: node("Seq Scan", "large", 1000), Blocks: 100}, "", ""},
		{"a small table read as a whole", Plan{Root: node("Index Scan", "small", 100).with(looksUp("i"))}, Plan{Root: node("Seq Scan", "small", 500)}, Cost, finding.Warn},
		{"an index read as a whole", Plan{Root: lookup(100), Blocks: 100}, Plan{Root: node("Index Scan", "large", 500).with(readsAll("i")), Blocks: 500}, FullIndexScan, finding.Refuse},
		{"another index read as a whole", Plan{Root: lookup(100), Blocks: 100}, Plan{Root: node("Index Only Scan", "large", 500).with(readsAll("j")), Blocks: 500}, FullIndexScan, finding.Refuse},
		{"an index that was always read as a whole", Plan{Root: node("Index Scan", "large", 100).with(readsAll("i")), Blocks: 100},
			Plan{Root: node("Index Scan", "large", 500).with(readsAll("i")), Blocks: 500}, Cost, finding.Warn},
		{"an index that is gone", Plan{Root: node("Index Scan", "large", 100).with(looksUp("gone")), Blocks: 100}, Plan{Root: lookup(300), Blocks: 300}, IndexLost, finding.Refuse},
		{"an index that is gone and was below a bitmap", Plan{Root: node("Bitmap Heap Scan", "large", 100, node("Bitmap Index Scan", "", 10).with(looksUp("gone"))), Blocks: 100},
			Plan{Root: lookup(300), Blocks: 300}, IndexLost, finding.Refuse},
		{"a sort that went to the disk", Plan{Root: node("Sort", "", 1000), Blocks: 100}, Plan{Root: node("Sort", "", 1100), Blocks: 300, Spilled: true}, Spill, finding.Warn},
		{"a sort that may go to the disk", Plan{Root: node("Sort", "", 1000).with(func(n *Node) { n.Rows, n.Width = 1024, 4096 }), Blocks: unknown},
			Plan{Root: node("Sort", "", 1100).with(func(n *Node) { n.Rows, n.Width = 1025, 4096 }), Blocks: unknown}, Spill, finding.Warn},
		{"a hash that may go to the disk", Plan{Root: node("Hash", "", 1000).with(func(n *Node) { n.Rows, n.Width = 2048, 4096 }), Blocks: unknown},
			Plan{Root: node("Hash", "", 1100).with(func(n *Node) { n.Rows, n.Width = 2049, 4096 }), Blocks: unknown}, Spill, finding.Warn},
		{"a join of another kind", Plan{Root: node("Hash Join", "", 100, lookup(1), lookup(1)), Blocks: 100}, Plan{Root: node("Nested Loop", "", 400, lookup(1), lookup(1)), Blocks: 400}, Join, finding.Refuse},
		{"a join in another order", Plan{Root: node("Hash Join", "", 100, node("Seq Scan", "small", 1), lookup(1)), Blocks: 100},
			Plan{Root: node("Hash Join", "", 400, lookup(1), node("Seq Scan", "small", 1)), Blocks: 400}, Join, finding.Refuse},
		{"the same join by several workers", Plan{Root: node("Hash Join", "", 100, node("Seq Scan", "small", 1), lookup(1)), Blocks: 100},
			Plan{Root: node("Gather", "", 400, node("Hash Join", "", 400, node("Seq Scan", "small", 1), lookup(1))), Blocks: 400}, Cost, finding.Warn},
		{"an execution that was given up", Plan{Root: lookup(100), Blocks: 10, Time: 499 * time.Millisecond}, Plan{Root: lookup(100), Blocks: unknown, TimedOut: true}, Blocks, finding.Refuse},
		{"an execution that was given up and was slow before", Plan{Root: lookup(100), Blocks: 10, Time: 500 * time.Millisecond}, Plan{Root: lookup(100), Blocks: unknown, TimedOut: true}, "", ""},
		{"an execution that was always given up", Plan{Root: lookup(100), Blocks: unknown, TimedOut: true}, Plan{Root: lookup(100), Blocks: unknown, TimedOut: true}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, after := made(tt.before), made(tt.after)
			before.indexes[statement.Name{Schema: "public", Name: "gone"}] = "CREATE INDEX gone"
			report := Compare(before, after, nil)
			assert.Empty(t, Compare(before, before, before).Findings, "a set does not differ from itself")
			if tt.kind == "" {
				assert.Empty(t, report.Findings)
				return
			}
			require.Len(t, report.Regressions, 1)
			assert.Equal(t, tt.kind, report.Regressions[0].Kind)
			assert.Equal(t, tt.level, report.Regressions[0].Finding.Level)
			assert.Zero(t, Compare(before, after, nil).Improved)
			assert.Empty(t, Compare(after, before, nil).Regressions, "one of two is better")
		})
	}
}

func TestAnalyzeDecidesWhatIsWrong(t *testing.T) {
	good, bad := Plan{Root: node("Index Scan", "large", 100).with(looksUp("i")), Blocks: 100}, Plan{Root: node("Seq Scan", "large", 1000), Blocks: 1000}
	tests := []struct {
		name                    string
		before, after, analyzed Plan
		regressions             int
		untilAnalyze            bool
	}{
		{"bad until then", good, bad, good, 1, true},
		{"bad for good", good, bad, bad, 1, false},
		{"bad from then on", good, good, bad, 1, false},
		{"never bad", good, good, good, 0, false},
		{"bad before, too", bad, bad, bad, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report := Compare(made(tt.before), made(tt.after), made(tt.analyzed))
			require.Len(t, report.Regressions, tt.regressions)
			for _, g := range report.Regressions {
				assert.Equal(t, tt.untilAnalyze, g.UntilAnalyze)
			}
		})
	}
}

func TestReportForPeople(t *testing.T) {
	before := made(Plan{Calls: 7, Root: node("Nested Loop", "", 100, node("Seq Scan", "small", 10).with(func(n *Node) { n.Filter = "(b = $2)" }),
		node("Index Scan", "large", 1).with(looksUp("i"))).with(func(n *Node) { n.Join = "Left" }), Blocks: 100})
	after := made(Plan{Root: node("Seq Scan", "large", 1000), Blocks: 1000})
	g := Compare(before, after, nil).Regressions[0]
	assert.Equal(t, "Nested Loop (Left)\n  Seq Scan on public.small filter (b = $2)\n  Index Scan using i on public.large where (a = $1)", g.Before)
	assert.Equal(t, "a query reads all of table public.large (1024 pages of 8 kB) where it did not: cost 100 before, 1000 after (10.0 times); pages 100 before, 1000 after: SELECT 1",
		g.Finding.Message)
	assert.Equal(t, int64(7), g.Calls)
}
