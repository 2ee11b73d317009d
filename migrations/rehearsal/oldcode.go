package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/compat"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/statement"
)

// compatibility asks whether the running release works on the new schema: its statements are prepared on both copies, and
// what a contract step takes away must be nothing that they use.
func (c *copyOf) compatibility(ctx context.Context) error {
	var steps []compat.Step
	for _, m := range c.Pending {
		s, err := c.Source.Script(m, folder.Up)
		if err != nil {
			return err
		}
		for i, parsed := range c.parsed[m.Version] {
			if parsed.Err() != nil {
				c.found(place(m, finding.Finding{Name: "not-understood", Level: finding.Warn, Basis: finding.Static, Line: s.Line(i), Statement: i + 1,
					Message: "the statement is newer than the grammar that it was read with, so nothing is known of it but what was measured: " + first(parsed.Err())}))
			}
			if parsed.Class() == statement.Contract {
				c.report.Contract[m.Version] = joinWhy(c.report.Contract[m.Version], fmt.Sprintf("migration %d %s", m.Version, parsed.Why()))
			}
			steps = append(steps, compat.Step{Version: m.Version, File: m.File, Line: s.Line(i), Statement: i + 1, Parsed: parsed})
		}
	}
	var err error
	c.report.Compat, err = compat.Check(ctx, compat.Options{Before: c.first, After: c.conn, Statements: c.Statements, Steps: steps})
	if err != nil {
		return err
	}
	c.found(c.report.Compat.Findings...)
	c.found(compat.Contract(steps, c.Statements)...)
	return nil
}

func joinWhy(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// plansBefore plans the running release's statements on the second copy, before anything is done to it.
func (c *copyOf) plansBefore(ctx context.Context) (*plans.Set, error) {
	if len(c.Statements) == 0 {
		return nil, nil
	}
	return c.capture(ctx, nil)
}

func (c *copyOf) capture(ctx context.Context, like *plans.Set) (*plans.Set, error) {
	conn, err := pg.Connect(ctx, c.url)
	if err != nil {
		return nil, err
	}
	defer pg.HangUp(ctx, conn)
	if err := plans.Apply(ctx, conn, c.Settings); err != nil {
		return nil, err
	}
	return plans.Capture(ctx, conn, c.Statements, plans.Options{Execute: true, Like: like})
}

// plansAfter compares the plans with those of before: right after the migration, and once its tables have been analyzed.
func (c *copyOf) plansAfter(ctx context.Context, before *plans.Set) error {
	if before == nil {
		return nil
	}
	c.Step("planning the running release's statements on the new schema")
	after, err := c.capture(ctx, before)
	if err != nil {
		return err
	}
	for _, name := range c.touched() {
		if _, err := c.conn.Exec(ctx, "ANALYZE "+name); err != nil && ctx.Err() != nil {
			return fmt.Errorf("analyze %s: %w", name, pg.Ended(ctx, err))
		}
	}
	analyzed, err := c.capture(ctx, before)
	if err != nil {
		return err
	}
	c.report.Plans = plans.Compare(before, after, analyzed)
	c.found(c.report.Plans.Findings...)
	return nil
}

// touched are the tables that the pending migrations name, and that are there.
func (c *copyOf) touched() []string {
	names := map[string]bool{}
	for _, m := range c.Pending {
		for _, s := range c.parsed[m.Version] {
			for _, t := range append(s.Tables(), s.Writes()...) {
				names[t.SQL()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
