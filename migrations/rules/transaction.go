package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

// held is a lock that a statement took and the transaction keeps.
type held struct {
	table statement.Name
	mode  string
	index int
}

// transaction gives the hints about the current statement among the others of its transaction, after all others about it.
func (c *check) transaction() {
	slow := c.slow
	c.slow = false
	if c.now.Tree() == nil {
		return
	}
	c.labelsAtOnce()
	if c.script.Outside {
		return
	}
	locks := c.now.Locks()
	if slow || c.changesRows() {
		for _, h := range c.held {
			if locks[h.table] != "AccessExclusiveLock" { // which keeps everybody out by itself
				_, line := c.script.Place(h.index)
				c.warn("long-statement-under-lock", tableObject(h.table), 0, fmt.Sprintf(
					"It may take long, and until it is done nobody can %s %s, which line %d has locked until the file is committed", keeps(h.mode), h.table, line),
					c.apart())
				break
			}
		}
	}
	for _, table := range slices.SortedFunc(maps.Keys(locks), func(a, b statement.Name) int { return strings.Compare(a.String(), b.String()) }) {
		if keeps(locks[table]) != "" && !c.fresh(table) {
			c.held = append(c.held, held{table, locks[table], c.index})
		}
	}
	slices.SortStableFunc(c.held, func(a, b held) int { return len(keeps(b.mode)) - len(keeps(a.mode)) }) // the strongest first
}

// apart is how the current statement is done apart from the others: by the recipe of another hint about it, if it has one.
func (c *check) apart() string {
	for _, f := range c.found {
		if f.Statement == c.index+1 && f.Fix != "" && f.Level == finding.Warn {
			return f.Fix
		}
	}
	return recipe(alone, strings.TrimSuffix(c.now.SQL(), ";")+";")
}

// keeps is what a lock mode keeps others from; "" where applications go on.
func keeps(mode string) string {
	switch mode {
	case "AccessExclusiveLock":
		return "read or write"
	case "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock":
		return "write"
	}
	return ""
}

// changesRows says whether the current statement changes rows of a table that is in use, or fills a new one.
func (c *check) changesRows() bool {
	switch n := c.now.Tree().GetNode().(type) {
	case *pg.Node_CreateTableAsStmt:
		return !n.CreateTableAsStmt.GetInto().GetSkipData()
	case *pg.Node_InsertStmt: // a row or two are soon written
		return n.InsertStmt.GetSelectStmt().GetSelectStmt().GetFromClause() != nil
	case *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		for _, table := range c.now.Writes() {
			if rows, known := c.rows(table); !c.fresh(table) && (!known || rows > small) {
				return true
			}
		}
	}
	return false
}

// labelsAtOnce is about labels of enums: "unsafe use of new value", 55P04.
func (c *check) labelsAtOnce() {
	if len(c.labels) == 0 || c.script.Outside || c.now.Tree().GetAlterEnumStmt() != nil {
		return
	}
	c.each(func(m proto.Message) {
		text := m.ProtoReflect().Interface()
		k, ok := text.(*pg.A_Const)
		if ok && k.GetSval() != nil && slices.Contains(c.labels, k.GetSval().GetSval()) {
			c.warn("enum-value-used-at-once", nil, k.GetLocation(),
				"If '"+k.GetSval().GetSval()+"' is the label that this file adds it fails: a label cannot be used in the transaction that adds it",
				recipe(later, strings.TrimSuffix(c.now.SQL(), ";")+";"))
		}
	})
}

// whole gives the hints about the script as a whole.
func (c *check) whole() {
	concurrent := slices.IndexFunc(c.script.Statements, script.Concurrent)
	if concurrent >= 0 && len(c.script.Statements) > 1 {
		c.index, c.now, c.shift = concurrent, c.list[concurrent], 0
		c.warn("concurrently-not-alone", nil, 0,
			"Because of this statement the file does not run in a transaction: if a later statement fails, what was before it stays done",
			recipe(alone, strings.TrimSuffix(c.sqls[concurrent], ";")+";"))
	}
	if len(c.dropped) > 0 && c.script.Declared.Irreversible == "" {
		c.index, c.now, c.shift = c.droppedAt.index, c.list[c.droppedAt.index], c.droppedAt.shift
		c.warn("undeclared-irreversible", nil, 0, "The data of "+strings.Join(c.dropped, ", ")+" is gone afterwards, whatever the way back does, and the file does not say so",
			"-- deploy: irreversible "+c.dropped[0]+" is not needed any more")
	}
	finding.Sort(c.found)
	slices.SortStableFunc(c.found, func(a, b finding.Finding) int { return a.Statement - b.Statement })
}
