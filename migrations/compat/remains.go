package compat

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// sequences notes what callers of nextval meet. Which sequence a statement means is a constant, which a corpus does not have.
func (c *check) sequences() {
	calls := slices.ContainsFunc(c.usage.calls, func(f string) bool { return f == "nextval" || f == "currval" || f == "setval" })
	if !calls {
		return
	}
	for name, was := range sorted(c.before.sequences, compareNames) {
		object := statement.Object{Kind: "sequence", Name: name}
		now, still := c.after.sequences[name]
		switch {
		case !still:
			c.add(c.place(finding.Finding{
				Name: "sequence-changed", Level: finding.Warn,
				Message: fmt.Sprintf("sequence %s is gone, and the running release calls nextval with names that are not known here", name),
				Fix:     "keep it while the running release may name it",
			}, object), corpus.Statement{})
		case now.Increment != was.Increment:
			c.add(c.place(finding.Finding{
				Name: "sequence-changed", Level: finding.Warn,
				Message: fmt.Sprintf("sequence %s advanced by %d and now does by %d: code that takes numbers in blocks (Hibernate's allocationSize) takes the same ones twice",
					name, was.Increment, now.Increment),
				Fix: "change the increment when no running code takes blocks of the old size",
			}, object), corpus.Statement{})
		}
	}
}

// mentions notes functions whose text names what is gone: PostgreSQL looks at it only when they are called, also by a trigger.
func (c *check) mentions() {
	for name := range sorted(c.before.columns, compareColumns) {
		if _, is := c.after.columns[name]; is {
			continue
		}
		_, table := c.after.tables[name.Table]
		for _, r := range c.after.routines {
			about := slices.Contains(r.Triggers, name.Table.String()) || word(name.Table.Name).MatchString(r.Source)
			if table && about && word(name.Column).MatchString(r.Source) {
				c.mention(r, statement.Object{Kind: "column", Name: name.Table, Part: name.Column})
			}
		}
	}
	for name := range sorted(c.before.tables, compareNames) {
		if _, is := c.after.tables[name]; is {
			continue
		}
		for _, r := range c.after.routines {
			if word(name.Name).MatchString(r.Source) {
				c.mention(r, statement.Object{Kind: "table", Name: name})
			}
		}
	}
}

func (c *check) mention(r routine, gone statement.Object) {
	f := finding.Finding{
		Name: "function-mentions-removed", Level: finding.Warn,
		Message: fmt.Sprintf("function %s.%s(%s) names %s in its text, which is gone: it may fail when it is called", r.Schema, r.Name, r.Arguments, gone),
		Fix:     "replace the function in the same migration",
	}
	if len(r.Triggers) > 0 {
		f.Message += ", which a trigger on " + strings.Join(r.Triggers, ", ") + " does"
	}
	c.add(c.place(f, gone), corpus.Statement{})
}

// word is a name as a word of its own.
func word(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[^\pL\pN_$])` + regexp.QuoteMeta(name) + `(?:$|[^\pL\pN_$])`)
}

// grants notes rights that are lost on what is still there.
func (c *check) grants() {
	for grant := range sorted(c.before.grants, cmp.Compare) {
		if c.after.grants[grant] {
			continue
		}
		privilege, rest, _ := strings.Cut(grant, " on ")
		on := rest[:strings.LastIndex(rest, " to ")]
		if !c.remains(on) {
			continue
		}
		c.add(finding.Finding{
			Name: "privilege-revoked", Level: finding.Warn, Object: on,
			Message: fmt.Sprintf("%s loses %s on %s", rest[strings.LastIndex(rest, " to ")+len(" to "):], privilege, on),
			Fix:     "keep the right while the running release may connect as that role",
		}, corpus.Statement{})
	}
}

// remains says whether somebody still has a right on a thing, so that it is there.
func (c *check) remains(on string) bool {
	for grant := range c.after.grants {
		if strings.Contains(grant, " on "+on+" to ") {
			return true
		}
	}
	return false
}
