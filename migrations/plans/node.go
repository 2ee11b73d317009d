package plans

import (
	"fmt"
	"iter"
	"strings"

	"github.com/metaextract/pipeline/migrations/statement"
)

// Node is a step of a plan, as EXPLAIN (VERBOSE, FORMAT JSON) tells of it.
type Node struct {
	Type      string  `json:"Node Type"`
	Join      string  `json:"Join Type"`
	Strategy  string  `json:"Strategy"`  // of an aggregate: Plain, Sorted, Hashed, Mixed
	Operation string  `json:"Operation"` // of a change: Insert, Update, Delete, Merge
	Schema    string  `json:"Schema"`
	Relation  string  `json:"Relation Name"`
	Index     string  `json:"Index Name"` // in the schema of its table
	IndexCond string  `json:"Index Cond"` // what is looked up in the index
	Filter    string  `json:"Filter"`     // what is looked for row by row
	Cost      float64 `json:"Total Cost"` // in the planner's units: one page read in sequence is 1 by default
	Rows      float64 `json:"Plan Rows"`  // expected
	Width     float64 `json:"Plan Width"` // bytes of a row, expected
	Plans     []*Node `json:"Plans"`

	// What EXPLAIN (ANALYZE, BUFFERS) adds: pages of 8 kB, of the step and those below it.
	SharedHit   int64 `json:"Shared Hit Blocks"`
	SharedRead  int64 `json:"Shared Read Blocks"`
	LocalHit    int64 `json:"Local Hit Blocks"`
	LocalRead   int64 `json:"Local Read Blocks"`
	TempRead    int64 `json:"Temp Read Blocks"`
	TempWritten int64 `json:"Temp Written Blocks"`
}

// blocks are the pages that a step and those below it went through, wherever they were: the same for the same plan and data,
// which times are not.
func (n *Node) blocks() int64 {
	return n.SharedHit + n.SharedRead + n.LocalHit + n.LocalRead + n.TempRead + n.TempWritten
}

// table is the relation of a scan or a change.
func (n *Node) table() statement.Name { return statement.Name{Schema: n.Schema, Name: n.Relation} }

// all are the steps of a plan from the top, each with the table that it is about: a Bitmap Index Scan does not say its own.
func (n *Node) all() iter.Seq2[*Node, statement.Name] {
	return func(yield func(*Node, statement.Name) bool) { n.walk(statement.Name{}, yield) }
}

func (n *Node) walk(table statement.Name, yield func(*Node, statement.Name) bool) bool {
	if n.Relation != "" {
		table = n.table()
	}
	if !yield(n, table) {
		return false
	}
	for _, below := range n.Plans {
		if !below.walk(table, yield) {
			return false
		}
	}
	return true
}

// indexes are the indexes that a plan uses, and whether each looks something up instead of reading it all.
func (n *Node) indexes() map[statement.Name]bool {
	used := map[statement.Name]bool{}
	for step, table := range n.all() {
		if step.Index != "" {
			index := statement.Name{Schema: table.Schema, Name: step.Index}
			used[index] = used[index] || step.IndexCond != ""
		}
	}
	return used
}

// scans counts how often a plan reads each table as a whole.
func (n *Node) scans() map[statement.Name]int {
	count := map[statement.Name]int{}
	for step, table := range n.all() {
		if step.Type == "Seq Scan" {
			count[table]++
		}
	}
	return count
}

// isJoin says whether a step joins two others.
func (n *Node) isJoin() bool {
	return n.Type == "Nested Loop" || n.Type == "Hash Join" || n.Type == "Merge Join"
}

// joins is how a plan joins, and in which order: ways of joining and tables from the top.
func (n *Node) joins() string {
	var parts []string
	found := false
	for step := range n.all() {
		if step.isJoin() {
			found = true
			parts = append(parts, step.Type+" "+step.Join)
		} else if step.Relation != "" {
			parts = append(parts, step.table().String())
		}
	}
	if !found {
		return ""
	}
	return strings.Join(parts, ", ")
}

// String is the plan for people, a step a line, without estimates.
func (n *Node) String() string { return n.print(0, true) }

// shape is the plan without its conditions, whose text changes with the types of columns.
func (n *Node) shape() string { return n.print(0, false) }

func (n *Node) print(depth int, conditions bool) string {
	var text strings.Builder
	text.WriteString(strings.Repeat("  ", depth))
	name := n.Type
	switch {
	case n.Operation != "":
		name = n.Operation
	case n.Strategy == "Hashed" || n.Strategy == "Sorted":
		name = n.Strategy + " " + n.Type
	case n.isJoin() && n.Join != "Inner":
		name = n.Type + " (" + n.Join + ")"
	}
	text.WriteString(name)
	if n.Index != "" {
		fmt.Fprintf(&text, " using %s", n.Index)
	}
	if n.Relation != "" {
		fmt.Fprintf(&text, " on %s", n.table())
	}
	if n.IndexCond != "" && !conditions {
		text.WriteString(" where")
	}
	if n.IndexCond != "" && conditions {
		fmt.Fprintf(&text, " where %s", n.IndexCond)
	}
	if n.Filter != "" && conditions {
		fmt.Fprintf(&text, " filter %s", n.Filter)
	}
	for _, below := range n.Plans {
		text.WriteString("\n" + below.print(depth+1, conditions))
	}
	return text.String()
}
