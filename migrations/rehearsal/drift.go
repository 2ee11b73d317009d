package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/history"
)

// drift looks whether the schema is what the migrations say: the one that the last of them left, and the one that the whole
// folder makes of an empty database.
func (r *run) drift(ctx context.Context) error {
	d := &Drift{Recorded: []catalog.Difference{}, Built: []catalog.Difference{}}
	r.report.Drift = d
	conn, err := pg.Connect(ctx, r.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	tables, err := history.Find(ctx, conn)
	if err != nil {
		return err
	}
	recorded, err := tables.RecordedSchema(ctx, conn)
	if err != nil {
		return err
	}
	if recorded != nil {
		var left catalog.Snapshot
		if err := json.Unmarshal(recorded, &left); err != nil {
			return fmt.Errorf("read the recorded schema: %w", err)
		}
		d.Known = true
		d.Recorded = append(d.Recorded, catalog.Compare(left.WithoutAccess(), r.before.WithoutAccess())...)
	}
	if len(d.Recorded) > 0 {
		r.found(finding.Finding{Name: "drift", Level: finding.Warn, Basis: finding.Measured,
			Message: "the schema is not the one that the last migration left: " + differences(d.Recorded),
			Fix:     "write a migration that makes the same change, so that every environment has it"})
	}
	if !r.Scratch {
		d.NotBuilt = "not asked for"
		return nil
	}
	return r.build(ctx, d)
}

// build applies the folder to an empty database and compares. Access is left out: roles and privileges are seldom made by
// migrations.
func (r *run) build(ctx context.Context, d *Drift) error {
	r.Step("building the schema from nothing")
	server, err := pg.OnDatabase(r.URL, "postgres")
	if err != nil {
		return err
	}
	conn, err := pg.Connect(ctx, r.URL)
	if err != nil {
		return err
	}
	like, err := pg.ReadLocale(ctx, conn)
	pg.HangUp(ctx, conn)
	if err != nil {
		return err
	}
	empty, err := pg.NewScratch(ctx, server, like)
	if err != nil {
		return err
	}
	defer empty.Drop(ctx) //nolint:errcheck // its server is thrown away, too
	c := &copyOf{run: r}
	m, err := c.migrator(empty.URL)
	if err != nil {
		return err
	}
	if _, err := m.Up(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		d.NotBuilt = first(err)
		r.found(finding.Finding{Name: "not-built-from-nothing", Level: finding.Warn, Basis: finding.Measured,
			Message: "the folder does not make a database out of an empty one, so a new environment cannot be set up by it: " + d.NotBuilt})
		return nil
	}
	built, err := pg.Connect(ctx, empty.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, built)
	fresh, err := catalog.Read(ctx, built)
	if err != nil {
		return err
	}
	now := r.after
	if now == nil {
		now = r.before
	}
	d.Built = append(d.Built, catalog.Compare(fresh.WithoutAccess(), now.WithoutAccess())...)
	if len(d.Built) > 0 {
		r.found(finding.Finding{Name: "drift-from-migrations", Level: finding.Warn, Basis: finding.Measured,
			Message: "the database, with the pending migrations, is not what the folder makes of an empty one: " + differences(d.Built),
			Fix:     "write a migration that makes the difference, or undo by hand what was done by hand"})
	}
	return nil
}
