package compat

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// labels notes those of enums that are gone or new.
func (c *check) labels() {
	users := map[string]*use{} // by type
	for name, column := range sorted(c.before.columns, compareColumns) {
		use := c.usage.find(name.Table, c.before)
		if use == nil {
			continue
		}
		for _, t := range []string{column.Type, column.Element} {
			if users[t] == nil {
				users[t] = use
			}
		}
	}
	for enum, labels := range sorted(c.before.enums, cmp.Compare) {
		now, still := c.after.enums[enum]
		if !still {
			continue // PREPARE tells
		}
		use, example := users[enum], corpus.Statement{}
		if use != nil {
			example = use.example
		}
		for _, label := range labels {
			if slices.Contains(now, label) {
				continue
			}
			f := finding.Finding{
				Name: "enum-label-removed", Level: finding.Warn,
				Message: fmt.Sprintf("type %s has no label %q any more: code that sends it fails with 22P02", enum, label),
				Fix:     "add the new label beside it, let the next release write that, and rename or remove this one when no running code sends it",
			}
			if use != nil {
				f.Level = finding.Refuse
			}
			c.add(c.place(f, statement.Object{Kind: "label", Name: typeName(enum), Part: label}), example)
		}
		for _, label := range now {
			if !slices.Contains(labels, label) && use != nil {
				c.add(c.place(finding.Finding{
					Name: "enum-label-added", Level: finding.Note,
					Message: fmt.Sprintf("type %s has a new label %q, which the running release may read once somebody writes it", enum, label),
				}, statement.Object{Kind: "label", Name: typeName(enum), Part: label}), example)
			}
		}
	}
}

// typeName is a type's name by its schema and name.
func typeName(text string) statement.Name {
	schema, name, _ := strings.Cut(text, ".")
	return statement.Name{Schema: schema, Name: name}
}

// domains notes new checks of types.
func (c *check) domains() {
	for name, column := range sorted(c.before.columns, compareColumns) {
		use := c.usage.find(name.Table, c.before)
		if use == nil {
			continue
		}
		for _, definition := range c.after.domains[column.Type] {
			if !slices.Contains(c.before.domains[column.Type], definition) {
				c.onData(name, use, statement.Object{Kind: "domain", Name: typeName(column.Type)}, finding.Warn,
					fmt.Sprintf("domain %s, the type of %s, has a new constraint: values for which it is false fail with 23514: %s", column.Type, name, definition))
			}
		}
	}
}
