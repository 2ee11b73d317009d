// Package plans compares the plans of an application's queries before and after a migration: a query that works on the new
// schema may still be a hundred times slower there, because an index is gone, a type change has deleted the statistics, or a
// join goes the other way round. The two sets are made on one copy of the data, so that a difference comes from the
// migration; the rehearsal calls it.
//
// Plans are of the generic kind, made for any parameters, and nothing is executed for them. Where the caller allows it, the
// statements are also executed as far as they read, in a transaction that may not write and with parameters from the data, to
// count the pages they go through. What cannot be planned or counted is listed with the reason. No value of a row is in any
// error or report.
package plans

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Plan is that of one statement.
type Plan struct {
	SQL   string
	Calls int64
	Root  *Node
	// Blocks are the pages of 8 kB that the statement went through with parameters from the data; -1 where that was not
	// counted, for the reason NotMeasured.
	Blocks      int64
	NotMeasured string
	Spilled     bool          // it wrote temporary files
	TimedOut    bool          // it was given up after Options.Timeout
	Time        time.Duration // of the execution: information, for it is never the same twice

	values []string // of the parameters, as literals
}

// NotCheckable is a statement that has no plan, and why.
type NotCheckable struct {
	SQL    string `json:"sql"`
	Reason string `json:"reason"`
}

// Set is the plans of a corpus at one moment, and what of the database decides them.
type Set struct {
	Settings     map[string]string
	Plans        map[string]Plan // by SQL
	NotCheckable []NotCheckable

	timeout    time.Duration
	pages      map[statement.Name]int64
	statistics map[statement.Name]int    // how many columns and expressions of a table have them
	indexes    map[statement.Name]string // their definitions
}

// Options say what is done beyond planning.
type Options struct {
	// Execute allows to run what the statements read, to count pages. Only on a copy: it costs time, and functions may do what
	// they want outside the database.
	Execute bool
	// Like is an earlier set, whose values the parameters have again.
	Like *Set
	// Timeout bounds one execution; 5 s by default.
	Timeout time.Duration
	// Budget bounds all executions; 2 minutes by default. The most called statements come first.
	Budget time.Duration
}

const (
	defaultTimeout = 5 * time.Second
	defaultBudget  = 2 * time.Minute
)

// Capture makes the plans of all statements on a database as it is now. The session must have the search_path of the
// application, no open transaction, and should have production's settings (Apply).
func Capture(ctx context.Context, conn *pgx.Conn, statements []corpus.Statement, options Options) (*Set, error) {
	if options.Timeout == 0 {
		options.Timeout = defaultTimeout
	}
	if options.Budget == 0 {
		options.Budget = defaultBudget
	}
	settings, err := Settings(ctx, conn)
	if err != nil {
		return nil, err
	}
	set := &Set{Settings: settings, Plans: map[string]Plan{}, timeout: options.Timeout}
	if err := set.look(ctx, conn); err != nil {
		return nil, err
	}
	m := &measurement{conn: conn, options: options, ends: time.Now().Add(options.Budget)}
	for _, s := range statements {
		if why := s.Unreadable(); why != "" {
			set.NotCheckable = append(set.NotCheckable, NotCheckable{s.SQL, why})
			continue
		}
		root, err := Generic(ctx, conn, s.Preparable())
		if ctx.Err() != nil || conn.IsClosed() {
			return nil, fmt.Errorf("plan statements: %w", pg.Ended(ctx, err))
		}
		if err != nil {
			set.NotCheckable = append(set.NotCheckable, NotCheckable{s.SQL, because(err)})
			continue
		}
		plan := Plan{SQL: s.SQL, Calls: s.Calls, Root: root, Blocks: -1, NotMeasured: "executing was not allowed"}
		if options.Execute {
			if err := m.measure(ctx, &plan, s.Preparable()); err != nil {
				return nil, err
			}
		}
		set.Plans[s.SQL] = plan
	}
	return set, nil
}

// look reads the sizes of tables, which of their columns have statistics, and the indexes.
func (s *Set) look(ctx context.Context, conn *pgx.Conn) error {
	s.pages, s.statistics, s.indexes = map[statement.Name]int64{}, map[statement.Name]int{}, map[statement.Name]string{}
	const users = ` n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`
	rows, err := conn.Query(ctx, `SELECT n.nspname, c.relname,
			coalesce(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::int
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm') AND`+users)
	var name statement.Name
	var definition string
	var pages int64
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &pages}, func() error { s.pages[name] = pages; return nil })
	}
	if err != nil {
		return fmt.Errorf("read sizes of tables: %w", pg.Ended(ctx, err))
	}
	rows, err = conn.Query(ctx, `SELECT n.nspname, coalesce(t.relname, c.relname), count(*)
		FROM pg_catalog.pg_stats s JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
			JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
			LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
		WHERE`+users+` GROUP BY 1, 2`)
	var columns int
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &columns}, func() error { s.statistics[name] = columns; return nil })
	}
	if err != nil {
		return fmt.Errorf("read statistics of tables: %w", pg.Ended(ctx, err))
	}
	rows, err = conn.Query(ctx, `SELECT n.nspname, c.relname, pg_catalog.pg_get_indexdef(c.oid)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I') AND`+users)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &definition}, func() error { s.indexes[name] = definition; return nil })
	}
	if err != nil {
		return fmt.Errorf("read indexes: %w", pg.Ended(ctx, err))
	}
	return nil
}
