// Package rules reads a migration's text and gives hints: what is known to lock, rewrite, break old code or fail, with a
// recipe that does the same safely, ready to paste, with the names of the migration's own tables. It needs no database and
// runs nothing. The plan and the rehearsal of migrations show its hints; what was measured overrides them, which is why
// they are warnings and notes, except for what cannot work.
//
// # The rules
//
// Names are squawk's (squawkhq.com/docs/rules) where it has the rule; sm is strong_migrations, e is eugene. Tables and
// columns that the same script makes are exempt, for nobody uses them yet. Where Options.Knows says that a table is small,
// what is only slow becomes a note.
//
//	adding-field-with-default           a volatile DEFAULT, a stored generated column, serial and identity write the table anew
//	adding-foreign-key-constraint       FOREIGN KEY without NOT VALID
//	adding-not-nullable-field           SET NOT NULL without a validated CHECK
//	adding-required-field               ADD COLUMN … NOT NULL without a default; refused where the table has rows
//	adding-serial-primary-key-field     PRIMARY KEY without USING INDEX
//	ban-alter-domain-with-add-constraint, ban-create-domain-with-constraint
//	ban-char-field, prefer-bigint-over-int, prefer-bigint-over-smallint, prefer-identity, prefer-text-field,
//	prefer-timestamp-tz                 notes, one for each statement
//	ban-drop-column, ban-drop-not-null, ban-drop-table
//	ban-drop-database                   refused
//	ban-duplicate-column-assignments    refused: PostgreSQL does so too
//	ban-truncate-cascade
//	changing-column-type                unless the old type is known (from the script or Options.Columns) and only widened
//	constraint-missing-not-valid        CHECK without NOT VALID; VALIDATE in the transaction that added the constraint
//	disallowed-unique-constraint        UNIQUE without USING INDEX
//	identifier-too-long
//	prefer-repack                       VACUUM FULL and CLUSTER
//	renaming-column, renaming-table     unless a view takes the table's old name in the same script
//	require-concurrent-index-creation, require-concurrent-index-deletion, require-concurrent-partition-detach,
//	require-concurrent-reindex
//	require-enum-value-ordering         a note
//
//	attach-partition-without-check      ATTACH PARTITION looks at all rows unless a CHECK says the same
//	concurrently-not-alone              a CONCURRENTLY among other statements: the file is not one transaction then
//	concurrent-index-if-not-exists      takes an invalid index, left by a failure, for the real one
//	drop-cascade                        DROP … CASCADE drops what the statement does not name
//	enum-value-used-at-once             a label cannot be used in the transaction that adds it
//	exclusion-constraint (sm)           there is no way to add one without locking
//	json-column (sm)                    json has no equality, so that DISTINCT and UNION fail
//	lock-table                          LOCK TABLE in a mode that writers wait for
//	long-statement-under-lock (e, E4)   a statement that may take long, after one whose lock is kept until the commit
//	moving-object                       SET SCHEMA
//	not-understood                      newer than PostgreSQL 17's grammar, or wrong
//	opaque                              what a function, procedure or dynamic SQL does is not in the text
//	refresh-without-concurrently        REFRESH MATERIALIZED VIEW keeps readers out
//	renaming-object                     of a view, type, schema, label, …
//	table-rewrite                       SET LOGGED, UNLOGGED, TABLESPACE, ACCESS METHOD, EXPRESSION
//	triggers-disabled                   foreign keys are triggers
//	truncate
//	unbatched-backfill (sm)             UPDATE or DELETE of a whole table, or of many rows, in one transaction
//	undeclared-irreversible             data is dropped, and the file does not say so
//
// Of squawk's rules these are left out:
//
//	require-lock-timeout, require-statement-timeout, require-timeout-settings   the migrator sets both
//	ban-concurrent-index-creation-in-transaction   the migrator runs such files outside of one; see concurrently-not-alone
//	transaction-nesting, ban-uncommitted-transaction   package script takes BEGIN and COMMIT around a file away, and
//	                                               refuses them elsewhere
//	prefer-robust-stmts   a file is committed with its version or not at all; outside a transaction the migrator goes on
//	                      where it stopped and drops invalid indexes
//	require-table-schema  a matter of taste, which squawk leaves off by default
//	unused-ignore         is about squawk's own comments
package rules

import (
	"errors"
	"fmt"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Options are what is known of the database. The zero value is nothing.
type Options struct {
	// Major is the server's version; 0 where it is unknown.
	Major int
	// Knows says whether a table exists, and how many rows it has about: pg_class.reltuples, where -1 is that nobody has
	// counted them. Nil where nothing is known.
	Knows func(table statement.Name) (rows int64, known bool)
	// Columns is the type of a column as format_type() writes it. Nil where nothing is known.
	Columns func(table statement.Name, column string) (typ string, known bool)
}

const (
	// small is a number of rows up to which writing a table anew or looking at all of its rows takes no time that others
	// notice: 300,000 rows take 0.7 to 1 s (measured with PostgreSQL 15, 80 MB), so these 30 ms.
	small = 10_000
	// large is a number of rows from which a change of an unknown part of a table is worth batches.
	large = 100_000
)

// Check gives the hints for a script, ordered by place. Every finding has Basis finding.Static and no Version. The error is
// statement.ErrBroken: the process can parse no more.
func Check(s *script.Script, options Options) ([]finding.Finding, error) {
	c := &check{script: s, options: options, types: map[statement.Column]string{}}
	for i := range s.Statements {
		c.sqls = append(c.sqls, s.SQL(i))
	}
	c.list = statement.File(c.sqls)
	for i, st := range c.list {
		if errors.Is(st.Err(), statement.ErrBroken) {
			return nil, fmt.Errorf("check %s: %w", s.File, st.Err())
		}
		c.index, c.now, c.shift = i, st, 0
		c.names()
		c.statement()
		for _, inner := range st.Inner() {
			c.now, c.shift = inner.Statement, inner.Line
			c.statement()
		}
		c.now, c.shift = st, 0
		c.transaction()
	}
	c.whole()
	return c.found, nil
}
