package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// attach notes what writes have to pass that they had not: constraints, triggers and the like.
func (c *check) attach(table statement.Name, a attached) {
	use := c.usage.find(table, c.before, c.after)
	f := finding.Finding{Level: finding.Warn}
	objects := []statement.Object{{Kind: "constraint", Name: table, Part: a.Name}}
	switch a.Kind {
	case "trigger", "rule":
		f.Name = "trigger-added"
		f.Message = fmt.Sprintf("%s %s on %s is new or another one, and runs when the running release writes", a.Kind, a.Name, title(table))
		f.Fix = "make sure that it copes with what the running release writes: it is run with the rows of both releases"
		objects[0].Kind = a.Kind
	case "policy":
		f.Name = "row-security-changed"
		f.Message = fmt.Sprintf("policy %s on %s is new or another one, and decides which rows the running release sees and writes", a.Name, title(table))
		f.Fix = "make sure that it covers the role that the running release connects as"
		objects[0].Kind = a.Kind
		use = c.usage.tables[table] // those of a partition are for who names it
	default:
		f.Name = "breaking-on-data"
		f.Message = fmt.Sprintf("%s %s on %s is new: %s", a.Kind, a.Name, title(table), a.refuses())
		f.Fix = "make sure that the running release writes no such rows; if it may, release code that does not first, and add the constraint with the release after"
		if a.Kind == "unique index" {
			objects = append([]statement.Object{{Kind: "index", Name: statement.Name{Schema: a.Schema, Name: a.Name}}}, objects...)
		}
	}
	for _, name := range a.Columns {
		objects = append(objects, statement.Object{Kind: "column", Name: table, Part: name})
	}
	f = c.place(f, objects...)
	switch {
	case f.Name == "breaking-on-data" && (!use.writes() || c.unwritten(table, a) || c.before.implies(a)):
	case use.writes(), use != nil && a.Kind == "policy", use != nil && f.Name == "trigger-added" && use.removes:
		c.add(f, use.example)
	}
	if a.Kind == "foreign key" {
		c.refer(table, a, f)
	}
}

// unwritten says whether a constraint is about columns alone that the running release does not know: it writes their defaults,
// which the migration has chosen. Only uniqueness cannot have those, unless one of them is NULL.
func (c *check) unwritten(table statement.Name, a attached) bool {
	filled := false
	for _, name := range a.Columns {
		column := statement.Column{Table: table, Column: name}
		_, old := c.before.columns[column]
		fresh := !old && c.before.has(table)
		if a.Kind == "unique index" && fresh && !c.after.columns[column].filled() {
			return true
		}
		if !fresh {
			return false
		}
		filled = true
	}
	return filled && a.Kind != "unique index"
}

// refuses says which rows something keeps out.
func (a attached) refuses() string {
	columns := strings.Join(a.Columns, ", ")
	switch a.Kind {
	case "CHECK constraint":
		return "rows for which it is false fail with 23514: " + a.Definition
	case "unique index":
		return "a second row that is equal in it fails with 23505: " + a.Definition
	case "foreign key":
		return fmt.Sprintf("rows with a value in %s that %s does not have fail with 23503", columns, a.parent())
	}
	return "rows that conflict with another one fail with 23P01: " + a.Definition
}

// parent is the table that a foreign key refers to.
func (a attached) parent() statement.Name {
	var parts []string
	if json.Unmarshal([]byte(a.Parent), &parts) != nil || len(parts) != 2 {
		return statement.Name{}
	}
	return statement.Name{Schema: parts[0], Name: parts[1]}
}

// refer notes what a new foreign key means for the table that it refers to: rows that are referred to stay, or take the
// others with them.
func (c *check) refer(table statement.Name, a attached, f finding.Finding) {
	use := c.usage.find(a.parent(), c.before, c.after)
	if use == nil || !use.removes {
		return
	}
	f.Message = fmt.Sprintf("foreign key %s of %s is new: deleting rows of %s that it refers to fails with 23503", a.Name, title(table), a.parent())
	switch a.OnDelete {
	case "c":
		f.Message = fmt.Sprintf("foreign key %s of %s is new: deleting rows of %s deletes the rows that refer to them, too", a.Name, title(table), a.parent())
	case "n", "d":
		f.Message = fmt.Sprintf("foreign key %s of %s is new: deleting rows of %s changes the rows that refer to them", a.Name, title(table), a.parent())
	}
	c.add(f, use.example)
}

// partitions notes those that rows may no longer be put into. Rows of one that was detached are still there, so that nothing
// else tells that the running release does not find them any more.
func (c *check) partitions(ctx context.Context) error {
	for name, parent := range sorted(c.before.parents, compareNames) {
		use := c.usage.find(parent, c.before)
		if _, still := c.after.parents[name]; still || use == nil || c.before.tables[parent].Kind != "p" {
			continue
		}
		if c.after.tables[parent].Kind != "p" {
			continue // it is no longer partitioned: rows have another place
		}
		level := finding.Warn
		if _, detached := c.after.tables[name]; detached {
			var rows bool
			if err := c.Before.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+name.SQL()+")").Scan(&rows); err != nil {
				return fmt.Errorf("look at %s: %w", title(name), pg.Ended(ctx, err))
			}
			if rows {
				level = finding.Refuse
			}
		}
		c.add(c.place(finding.Finding{
			Name: "partition-removed", Level: level,
			Message: fmt.Sprintf("%s is no partition of %s any more: its rows are not found there, and rows that belong into it fail with 23514 where no other takes them", name, parent),
			Fix:     "keep it while the running release may read or write its rows; where it does not, declare in the migration: -- deploy: changes " + parent.Name,
		}, statement.Object{Kind: "table", Name: parent}, statement.Object{Kind: "table", Name: name}), use.example)
	}
	return nil
}
