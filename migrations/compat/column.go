package compat

import (
	"cmp"
	"context"
	"fmt"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// column compares one of a table that was there before; was is nothing where the column is new.
func (c *check) column(ctx context.Context, name statement.Column, was, now column, old bool) error {
	use := c.usage.find(name.Table, c.before, c.after)
	if use == nil {
		return nil
	}
	object := statement.Object{Kind: "column", Name: name.Table, Part: name.Column}
	needs := now.Required && !now.filled()
	needed := old && was.Required && !was.filled()
	for _, i := range use.inserts {
		if c.broken[i.from.SQL] {
			continue
		}
		given := old && i.gives(name.Column)
		switch {
		case !given && needs && !needed:
			f := finding.Finding{
				Name: "insert-lacks-column", Level: finding.Refuse,
				Message: fmt.Sprintf("the running release inserts into %s without a value for %s, which now needs one: the INSERT fails with 23502", title(name.Table), name.Column),
				Fix: fmt.Sprintf("give it a default: ALTER TABLE %s ALTER COLUMN %s SET DEFAULT …; drop that in a later release",
					name.Table.SQL(), statement.Quote(name.Column)),
			}
			if c.after.tables[name.Table].Fills {
				f.Level = finding.Warn
				f.Message += ", unless the trigger or rule that runs before fills it in"
			}
			c.add(c.place(f, object), i.from)
		case !given && old && was.Default != now.Default && was.Identity == now.Identity && was.Generated == now.Generated:
			f := finding.Finding{
				Name: "default-changed", Level: finding.Note,
				Message: fmt.Sprintf("the running release inserts into %s without %s, whose default was %s and becomes %s", title(name.Table), name.Column,
					cmp.Or(was.Default, "none"), cmp.Or(now.Default, "none")),
			}
			if now.Default == "" {
				f.Level = finding.Warn
				f.Message += ", so it is NULL from now on"
				f.Fix = "keep the default until no running code needs it"
			}
			c.add(c.place(f, object), i.from)
		}
	}
	if !old {
		return nil
	}
	if now.Required && !was.Required {
		c.onData(name, use, object, finding.Warn, fmt.Sprintf("%s.%s becomes NOT NULL: rows that are written with NULL in it fail with 23502", name.Table, name.Column))
	}
	what, condition := narrower(was, now)
	if what == "" {
		return nil
	}
	message, level := fmt.Sprintf("%s.%s was %s and becomes %s: %s no longer fit", name.Table, name.Column, was.Written, now.Written, what), finding.Warn
	var there bool
	err := c.Before.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+name.Table.SQL()+" WHERE "+condition+")").Scan(&there)
	if err != nil {
		return fmt.Errorf("look for values of %s that no longer fit: %w", name, pg.Ended(ctx, err))
	}
	if there {
		level = finding.Refuse
		message += ", and there are such values, so the running release may write more"
	}
	c.onData(name, use, object, level, message)
	return nil
}

// onData notes that values which the running release may write in a column are refused from now on.
func (c *check) onData(name statement.Column, use *use, object statement.Object, level finding.Level, message string) {
	f := c.place(finding.Finding{
		Name: "breaking-on-data", Level: level, Message: message,
		Fix: "make sure that the running release writes no such values; if it may, release code that does not first",
	}, object)
	for _, i := range use.inserts {
		if i.gives(name.Column) {
			c.add(f, i.from)
			return
		}
	}
	if use.sets[name.Column] {
		c.add(f, use.example)
	}
}
