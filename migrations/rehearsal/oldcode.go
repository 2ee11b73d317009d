package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
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
			file, line := s.Place(i)
			if parsed.Err() != nil {
				c.found(finding.Finding{Name: "not-understood", Level: finding.Warn, Basis: finding.Static, Version: m.Version, File: file, Line: line, Statement: i + 1,
					Message: "the statement is newer than the grammar that it was read with, so nothing is known of it but what was measured: " + first(parsed.Err())})
			}
			if parsed.Class() == statement.Contract {
				c.report.Contract[m.Version] = joinWhy(c.report.Contract[m.Version], fmt.Sprintf("migration %d %s", m.Version, parsed.Why()))
			}
			steps = append(steps, compat.Step{Version: m.Version, File: file, Line: line, Statement: i + 1, Parsed: parsed})
		}
	}
	var err error
	c.report.Compat, err = compat.Check(ctx, compat.Options{Before: c.first, After: c.conn, Statements: c.Statements, Steps: steps, Execute: true})
	if err != nil {
		return err
	}
	for i := range c.report.Compat.Findings {
		f := &c.report.Compat.Findings[i]
		if f.Name == "partition-removed" && c.meant(f.Object) {
			f.Level = finding.Warn
		}
	}
	c.found(c.report.Compat.Findings...)
	if c.Forgotten > 0 {
		c.found(finding.Finding{Name: "statements-forgotten", Level: finding.Warn, Basis: finding.Measured,
			Message: fmt.Sprintf("the server has dropped its least called statements %d times, so what is known of the running release is not all", c.Forgotten),
			Fix:     "raise pg_stat_statements.max, which takes a restart, and let the server record again"})
	}
	c.found(compat.Contract(steps, c.Statements)...)
	return nil
}

// meant says whether a migration declares that rows of a table, "table public.events", may be gone.
func (r *run) meant(object string) bool {
	schema, table, _ := strings.Cut(strings.TrimPrefix(object, "table "), ".")
	return slices.ContainsFunc(r.Pending, func(m folder.Migration) bool {
		return checksum.Change{Schema: schema, Table: table, Kind: checksum.RowsRemoved}.Declared(m.Declared.Changes)
	})
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
	for i := range c.report.Plans.Regressions {
		c.dropping(&c.report.Plans.Regressions[i].Finding)
	}
	for i := range c.report.Plans.Findings {
		c.dropping(&c.report.Plans.Findings[i])
	}
	c.found(c.report.Plans.Findings...)
	return nil
}

// dropping puts the finding that an index is gone into the statement that drops it by its name, where there is one.
func (r *run) dropping(f *finding.Finding) {
	if f.Name != string(plans.IndexLost) {
		return
	}
	for _, m := range r.Pending {
		for i, parsed := range r.parsed[m.Version] {
			if !slices.ContainsFunc(parsed.Removes(), func(o statement.Object) bool {
				return o.Kind == "index" && (f.Object == "index "+o.Name.String() || o.Name.Schema == "" && strings.HasSuffix(f.Object, "."+o.Name.Name))
			}) {
				continue
			}
			if s, err := r.Source.Script(m, folder.Up); err == nil {
				f.Version, f.Statement = m.Version, i+1
				f.File, f.Line = s.Place(i)
				return
			}
		}
	}
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
