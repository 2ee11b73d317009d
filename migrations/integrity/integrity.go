// Package integrity looks for data that breaks what the schema promises, and for promises that the schema does not keep: rows
// without the row they refer to, sequences that will hand out what is taken, indexes that are not valid. It is run on a copy
// before and after a migration, and on a live database. It writes nothing, and tells counts, never values.
package integrity

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
)

// Names of findings.
const (
	InvalidIndex        = "invalid-index"        // refuse
	NotValidConstraint  = "not-valid-constraint" // note
	OrphanedRows        = "orphaned-rows"        // refuse; warn where the foreign key is NOT VALID, and so claims nothing
	BrokenCheck         = "broken-check"         // likewise
	NullInNotNull       = "null-in-not-null"     // refuse
	UncheckedConstraint = "unchecked-constraint" // note: its rows could not be looked at
	DisabledTrigger     = "disabled-trigger"     // warn: a foreign key or a deferrable constraint that is not enforced
	SequenceBehind      = "sequence-behind"      // refuse
	SequenceExhausting  = "sequence-exhausting"  // warn
)

// exhausting is the share of a sequence's values, in percent, beyond which somebody should look: at any rate of inserts, a
// fifth of the time it has been in use is left.
const exhausting = 80

// Options say how far to look.
type Options struct {
	// Scan reads every row of tables with constraints: foreign keys, checks and columns that refuse nulls, also where they
	// count as valid, for a damaged file or a disabled trigger does not ask. Without it, catalogs and sequences are read, and
	// the greatest value of a column where an index knows it.
	Scan bool
}

// Check looks at a database, and answers with findings, the worst first. Each look is a short transaction that writes nothing
// (or is at a savepoint, where the session is in a transaction), which leaves the session's settings as they are. It waits
// 10 s at most for a table that another session has locked exclusively; a table that the role may not read, or of which
// row-level security hides rows, is an error.
//
// Not looked at: the rows of foreign tables, the values within domains, arrays and composite types, foreign keys over periods
// (PostgreSQL 18).
func Check(ctx context.Context, conn *pgx.Conn, options Options) ([]finding.Finding, error) {
	c := &check{conn: conn, options: options}
	for _, look := range []struct {
		what string
		at   func(context.Context) error
	}{
		{"indexes", c.indexes}, {"constraints", c.constraints}, {"triggers of constraints", c.triggers}, {"sequences", c.sequences},
		{"foreign keys", c.foreignKeys}, {"rows", c.rows},
	} {
		if err := look.at(ctx); err != nil {
			return nil, fmt.Errorf("check %s: %w", look.what, pg.Ended(ctx, err))
		}
	}
	slices.SortFunc(c.findings, func(a, b finding.Finding) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Object, b.Object))
	})
	finding.Sort(c.findings)
	return c.findings, nil
}

// New are the findings of after that are not among those of before: what a migration brought about. They are told apart by
// name and object, so that of a renamed table is new; one that has become worse is new too.
func New(before, after []finding.Finding) []finding.Finding {
	var brought []finding.Finding
	for _, f := range after {
		if !slices.ContainsFunc(before, func(old finding.Finding) bool {
			return old.Name == f.Name && old.Object == f.Object && (old.Level == f.Level || finding.Worst([]finding.Finding{old, f}) == old.Level)
		}) {
			brought = append(brought, f)
		}
	}
	return brought
}

// check is one run of Check.
type check struct {
	conn     *pgx.Conn
	options  Options
	findings []finding.Finding
}

func (c *check) found(f finding.Finding) { c.findings = append(c.findings, f) }

// settings make names in definitions come with their schema, and hidden rows an error. Constraint exclusion would believe the
// constraint that is in question.
const settings = `SET LOCAL search_path = pg_catalog; SET LOCAL row_security = off; SET LOCAL constraint_exclusion = off;
	SET LOCAL quote_all_identifiers = off; SET LOCAL lock_timeout = '10s';`

// look runs a query in a transaction of its own, so that its locks and its failure end with it.
func (c *check) look(ctx context.Context, sql string, row func(pgx.CollectableRow) error) error {
	return pg.Borrow(ctx, c.conn, "BEGIN READ ONLY", settings, func() error {
		rows, err := c.conn.Query(ctx, sql, pgx.QueryExecModeExec)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// users is the condition that a schema n is no system schema.
const users = ` n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' `
