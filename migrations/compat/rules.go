package compat

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// rules compare the two catalogs for what PREPARE does not show.
func (c *check) rules(ctx context.Context) error {
	for name, now := range sorted(c.after.columns, compareColumns) {
		if above, inherits := c.after.columns[statement.Column{Table: c.after.parents[name.Table], Column: name.Column}]; inherits && above.alike(now) {
			continue // its parent tells
		}
		if was, old := c.before.columns[name]; old || c.before.has(name.Table) {
			if err := c.column(ctx, name, was, now, old); err != nil {
				return err
			}
		}
	}
	for table := range sorted(c.after.attached, compareNames) {
		for _, a := range c.after.attached[table] {
			if !c.before.holds(a) {
				c.attach(table, a)
			}
		}
	}
	for table, now := range sorted(c.after.tables, compareNames) {
		was, old := c.before.tables[table]
		if use := c.usage.tables[table]; old && use != nil && (now.Security && !was.Security || now.Forced && !was.Forced) {
			c.add(c.place(finding.Finding{
				Name: "row-security-changed", Level: finding.Warn,
				Message: "row-level security is switched on for " + title(table) + ", so the running release sees and writes the rows that a policy allows, or none",
				Fix:     "make sure that a policy covers the role that the running release connects as",
			}, statement.Object{Kind: "table", Name: table}), use.example)
		}
	}
	if err := c.partitions(ctx); err != nil {
		return err
	}
	c.labels()
	c.domains()
	c.sequences()
	c.mentions()
	c.grants()
	return nil
}

func compareNames(a, b statement.Name) int {
	return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
}

func compareColumns(a, b statement.Column) int {
	return cmp.Or(compareNames(a.Table, b.Table), cmp.Compare(a.Column, b.Column))
}

// sorted goes through a map in order, so that reports are the same each time.
func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(m), compare) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// title is a table for people.
func title(table statement.Name) string { return "table " + table.String() }
