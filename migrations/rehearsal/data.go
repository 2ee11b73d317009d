package rehearsal

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/statement"
)

// compareData finds what of the data is not what it was, and what of that nobody said it would be. A statement that drops a
// column or a table by its name says so; one that does it by CASCADE does not, nor does a trigger that changes other rows.
func (c *copyOf) compareData(ctx context.Context) error {
	for _, conn := range []*pgx.Conn{c.first, c.conn} {
		if _, err := conn.Exec(ctx, checksum.Session, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("compare the data: %w", pg.Ended(ctx, err))
		}
	}
	defer c.resetSessions(ctx)
	changes, err := c.original.Changes(ctx, c.conn)
	if err != nil {
		return err
	}
	c.report.Data = append(c.report.Data, changes...)
	for _, change := range changes {
		if c.declared(change) {
			continue
		}
		f := finding.Finding{
			Name: "undeclared-data-change", Level: finding.Refuse, Basis: finding.Measured, Object: object(change),
			Message: change.String() + ", and no migration says that it is meant to be",
			Fix:     "if it is meant, add to the migration: -- deploy: changes " + subject(change),
		}
		if m, ok := c.culprit(change); ok {
			f = place(m, f)
		}
		c.found(f)
	}
	return c.integrity(ctx)
}

// resetSessions gives the sessions the settings back that an application would have.
func (c *copyOf) resetSessions(ctx context.Context) {
	for _, conn := range []*pgx.Conn{c.first, c.conn} {
		_, _ = conn.Exec(ctx, "RESET ALL")
	}
}

// declared says whether a pending migration says that a change is meant.
func (r *run) declared(change checksum.Change) bool {
	for _, m := range r.Pending {
		if change.Declared(m.Declared.Changes) {
			return true
		}
		for _, s := range r.parsed[m.Version] {
			for _, o := range s.Removes() {
				if names(o, change) {
					return true
				}
			}
		}
	}
	return false
}

// names says whether a statement that removes an object by its name says so of the change.
func names(o statement.Object, change checksum.Change) bool {
	if o.Name.Name != change.Table || o.Name.Schema != "" && o.Name.Schema != change.Schema {
		return false
	}
	switch change.Kind {
	case checksum.TableRemoved:
		return o.Kind == "table"
	case checksum.ColumnRemoved:
		return o.Kind == "table" || o.Kind == "column" && o.Part == change.Column
	}
	return false
}

// culprit is the pending migration that writes a change's table or removes from it.
func (r *run) culprit(change checksum.Change) (folder.Migration, bool) {
	for _, m := range r.Pending {
		for _, s := range r.parsed[m.Version] {
			for _, t := range append(s.Tables(), s.Writes()...) {
				if t.Name == change.Table && (t.Schema == "" || t.Schema == change.Schema) {
					return m, true
				}
			}
		}
	}
	return folder.Migration{}, false
}

func object(change checksum.Change) string {
	if change.Column == "" {
		return "table " + change.Schema + "." + change.Table
	}
	return "column " + change.Schema + "." + change.Table + "." + change.Column
}

// subject is what a declaration of the change would name.
func subject(change checksum.Change) string {
	if change.Column == "" {
		return change.Table
	}
	return change.Table + "." + change.Column
}
