package plans

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/migrations/statement"
)

// What is a regression. regresql (github.com/boringSQL/regresql) fails a query at 10 % more cost and 2 % more pages. Costs are
// the same here: ANALYZE takes a sample, which moves them by less than 1 % on the tables that it was run for, and 10 % is
// beyond that. Pages may be a fifth more: a migration that fills a new column makes its table larger, and every read of all of
// it with it.
const (
	costMore   = 1.10
	blocksMore = 1.20
	// enoughCost and enoughBlocks are the least differences that count: a hundred pages are 0.8 MB, a fraction of a
	// millisecond from memory. A lookup in an index costs about 8; nobody notices one that costs 50.
	enoughCost   = 100.0
	enoughBlocks = 100
	// largeTable is where a scan of the whole table is large to PostgreSQL, which begins to share it among workers: the default
	// of min_parallel_table_scan_size, 8 MB, in pages.
	largeTable = 1024
	// twice as much, by the planner's estimate and by the count of pages, of a plan of another shape refuses the migration:
	// the estimate alone may be wrong, the pages alone may be of an unlucky parameter, and a plan of the same shape has grown
	// with the data that the migration wrote.
	twice = 2.0
	// tenfold is the estimate of such a plan that refuses where pages could not be counted, and how much longer than before an
	// execution that was given up took, at least, for that to be no coincidence.
	tenfold = 10
	// improved is as in regresql: a fifth less.
	improved = 0.80
)

// Kind is what about a plan got worse, and the name of the finding.
type Kind string

// The kinds, in the order in which the first that applies is told.
const (
	IndexLost     Kind = "plan-index-lost"      // it used an index that is gone
	SeqScan       Kind = "plan-seq-scan"        // it reads a whole large table where it did not
	FullIndexScan Kind = "plan-full-index-scan" // it reads a whole index where it looked something up
	Spill         Kind = "plan-spill"           // it sorts or hashes on the disk
	Join          Kind = "plan-join"            // it joins in another way or order
	Cost          Kind = "plan-cost"            // it is expected to cost more
	Blocks        Kind = "plan-blocks"          // it goes through more pages
)

// change is how one plan differs from another.
type change struct {
	kind        Kind
	what        string         // "index", "table"; "" for none
	name        statement.Name // of that
	cost        float64        // how many times as much
	blocks      float64        // how many times as much, where measured
	measured    bool
	worse       bool
	better      bool
	shape       bool // the plan is another one
	takesLonger bool // executed, it was given up
}

// compare says how the plan after differs from the one before.
func compare(before, after *Set, b, a Plan) change {
	c := change{cost: ratio(a.Root.Cost, b.Root.Cost), shape: a.Root.shape() != b.Root.shape()}
	costs := c.cost >= costMore && a.Root.Cost-b.Root.Cost >= enoughCost
	c.measured = b.Blocks >= 0 && a.Blocks >= 0
	if c.measured {
		c.blocks = ratio(float64(a.Blocks), float64(b.Blocks))
	}
	reads := c.measured && c.blocks >= blocksMore && a.Blocks-b.Blocks >= enoughBlocks
	c.takesLonger = b.Blocks >= 0 && a.TimedOut && b.Time*tenfold < after.timeout
	c.worse = costs || reads || c.takesLonger
	c.better = !c.worse && (c.cost <= improved && b.Root.Cost-a.Root.Cost >= enoughCost ||
		c.measured && c.blocks <= improved && b.Blocks-a.Blocks >= enoughBlocks)
	if c.worse {
		c.kind, c.what, c.name = kind(before, after, b, a)
		if c.kind == "" {
			c.kind = Cost
			if !costs {
				c.kind = Blocks
			}
		}
	}
	return c
}

// kind is what about the shape of a plan explains that it got worse; "" where nothing does.
func kind(before, after *Set, b, a Plan) (Kind, string, statement.Name) {
	var none statement.Name
	used, uses := b.Root.indexes(), a.Root.indexes()
	for _, index := range sorted(used) {
		if after.indexes[index] == "" {
			return IndexLost, "index", index
		}
	}
	did, does := b.Root.scans(), a.Root.scans()
	for _, table := range sorted(does) {
		if does[table] > did[table] && after.pages[table] >= largeTable {
			return SeqScan, "table", table
		}
	}
	for _, index := range sorted(uses) {
		if lookedUp, was := used[index]; !uses[index] && (lookedUp || !was && len(used) > 0) {
			return FullIndexScan, "index", index
		}
	}
	if spills(a, after.Settings) && !spills(b, before.Settings) {
		return Spill, "", none
	}
	if a.Root.joins() != b.Root.joins() {
		return Join, "", none
	}
	return "", "", none
}

// sorted are the names in a map, in order.
func sorted[T any](names map[statement.Name]T) []statement.Name {
	return slices.SortedFunc(maps.Keys(names), func(a, b statement.Name) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
}

// spills says whether a plan writes temporary files: it did, or, where it was not executed, a sort or hash is expected to be
// larger than the memory it may use (work_mem; for hashes hash_mem_multiplier times as much).
func spills(p Plan, settings map[string]string) bool {
	if p.Blocks >= 0 {
		return p.Spilled
	}
	memory := kilobytes(settings["work_mem"])
	if memory == 0 {
		return false
	}
	times, err := strconv.ParseFloat(settings["hash_mem_multiplier"], 64)
	if err != nil {
		times = 1
	}
	for step := range p.Root.all() {
		size := step.Rows * step.Width / 1024
		if step.Type == "Sort" && size > memory || step.Type == "Hash" && size > memory*times {
			return true
		}
	}
	return false
}

// kilobytes is the value of a setting of memory: "4MB".
func kilobytes(setting string) float64 {
	for unit, size := range map[string]float64{"kB": 1, "MB": 1 << 10, "GB": 1 << 20, "TB": 1 << 30} {
		if number, ok := strings.CutSuffix(setting, unit); ok {
			value, _ := strconv.ParseFloat(number, 64)
			return value * size
		}
	}
	return 0
}

// ratio is how many times as much as before it is. Estimates are above 0, and pages that were 0 count as one.
func ratio(after, before float64) float64 { return after / cmp.Or(before, 1) }
