package compat

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/statement"
)

// reading bounds each look at a catalog.
const reading = time.Minute

// schema is what of a database decides, beyond what PREPARE sees, whether statements that worked work on. It is read without
// oids, so that two databases can be compared.
type schema struct {
	columns   map[statement.Column]column
	tables    map[statement.Name]table
	enums     map[string][]string // labels by type
	sequences map[statement.Name]sequence
	routines  []routine
	grants    map[string]bool                   // "SELECT on table public.users to app"
	parents   map[statement.Name]statement.Name // by partition or inheriting table
	domains   map[string][]string               // checks by type
	attached  map[statement.Name][]attached     // what a write has to pass, by table
}

// column is one of a table, view or the like.
type column struct {
	Schema, Table, Name string
	Position            int
	Type                string // the type's name, with its schema
	Element             string // that of the elements of an array
	Written             string // the type as SQL writes it, with its length or precision
	Modifier            int32  // the length or precision, as PostgreSQL keeps it; -1 for none
	Required            bool   // it takes no null, by itself or by its domain
	Default             string // "" where there is none; also of its domain
	Identity, Generated string // as pg_attribute has them
}

// filled says whether PostgreSQL gives a column a value that an INSERT does not.
func (c column) filled() bool { return c.Default != "" || c.Identity != "" || c.Generated != "" }

// alike says whether two columns ask the same of a row.
func (c column) alike(other column) bool {
	return c.Required == other.Required && c.Default == other.Default && c.Written == other.Written && c.Identity == other.Identity &&
		c.Generated == other.Generated
}

// table is a relation with columns.
type table struct {
	Schema, Name string
	Kind         string // as pg_class has it
	Security     bool   // row-level security is on
	Forced       bool   // for the owner, too
	Base         string // of a view with one relation beneath: its schema and name, as JSON
	Fills        bool   // a trigger or rule may fill in columns before an INSERT
}

// sequence is what the callers of nextval notice.
type sequence struct {
	Schema, Name, Type string
	Increment          int64
}

// routine is a function or procedure whose body is a text that PostgreSQL looks at only when it is called.
type routine struct {
	Schema, Name, Arguments, Source string
	Triggers                        []string // tables that call it by a trigger, with their schemas
}

// attached is a constraint, unique index, trigger, rule or policy of a table.
type attached struct {
	Schema, Table, Name string
	Kind                string // "CHECK constraint", "trigger", …
	Definition          string
	Columns             []string
	Parent              string // of a foreign key: the table that it refers to, with its schema
	OnDelete            string // of a foreign key, as pg_constraint has it
}

// read takes a look at a database. With pg_catalog alone in the search path every other name is written with its schema.
func read(ctx context.Context, conn *pgx.Conn) (*schema, error) {
	s := &schema{
		columns: map[statement.Column]column{}, tables: map[statement.Name]table{}, enums: map[string][]string{},
		sequences: map[statement.Name]sequence{}, grants: map[string]bool{}, parents: map[statement.Name]statement.Name{},
		domains: map[string][]string{}, attached: map[statement.Name][]attached{},
	}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = %d", reading.Milliseconds()),
			pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		return s.read(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", pg.Ended(ctx, err))
	}
	return s, nil
}

func (s *schema) read(ctx context.Context, tx pgx.Tx) error {
	columns, err := all[column](ctx, tx, columnsQuery, history.Names)
	for _, c := range columns {
		s.columns[statement.Column{Table: statement.Name{Schema: c.Schema, Name: c.Table}, Column: c.Name}] = c
	}
	if err != nil {
		return err
	}
	tables, err := all[table](ctx, tx, tablesQuery, history.Names)
	for _, t := range tables {
		s.tables[statement.Name{Schema: t.Schema, Name: t.Name}] = t
	}
	if err != nil {
		return err
	}
	type labeled struct {
		Type string
		List []string
	}
	enums, err := all[labeled](ctx, tx, enumsQuery)
	for _, e := range enums {
		s.enums[e.Type] = e.List
	}
	if err != nil {
		return err
	}
	domains, err := all[labeled](ctx, tx, domainsQuery)
	for _, d := range domains {
		s.domains[d.Type] = d.List
	}
	if err != nil {
		return err
	}
	sequences, err := all[sequence](ctx, tx, sequencesQuery, history.Names)
	for _, q := range sequences {
		s.sequences[statement.Name{Schema: q.Schema, Name: q.Name}] = q
	}
	if err != nil {
		return err
	}
	partitions, err := all[struct{ Schema, Name, ParentSchema, Parent string }](ctx, tx, partitionsQuery, history.Names)
	for _, p := range partitions {
		s.parents[statement.Name{Schema: p.Schema, Name: p.Name}] = statement.Name{Schema: p.ParentSchema, Name: p.Parent}
	}
	if err != nil {
		return err
	}
	things, err := all[attached](ctx, tx, attachedQuery, history.Names)
	for _, t := range things {
		s.attached[t.table()] = append(s.attached[t.table()], t)
	}
	if err != nil {
		return err
	}
	if s.routines, err = all[routine](ctx, tx, routinesQuery); err != nil {
		return err
	}
	grants, err := all[struct{ Text string }](ctx, tx, grantsQuery, history.Names)
	for _, g := range grants {
		s.grants[g.Text] = true
	}
	return err
}

// table is that to which something is attached.
func (a attached) table() statement.Name { return statement.Name{Schema: a.Schema, Name: a.Table} }

// has says whether there is a table, view or the like.
func (s *schema) has(table statement.Name) bool {
	_, is := s.tables[table]
	return is
}

// implies says whether a table's rows are unique in fewer columns than a unique index asks for.
func (s *schema) implies(a attached) bool {
	if a.Kind != "unique index" || strings.Contains(a.Definition, " NULLS NOT DISTINCT ") {
		return false
	}
	return slices.ContainsFunc(s.attached[a.table()], func(other attached) bool {
		plain := strings.Count(other.Definition, "(") == 1 && !strings.Contains(other.Definition, " WHERE ")
		return other.Kind == a.Kind && plain && !slices.ContainsFunc(other.Columns, func(c string) bool { return !slices.Contains(a.Columns, c) })
	})
}

// holds says whether a table has the like of something that is attached to it elsewhere, whatever its name is.
func (s *schema) holds(a attached) bool {
	return slices.ContainsFunc(s.attached[a.table()], func(other attached) bool {
		return other.Kind == a.Kind && other.Definition == a.Definition
	})
}

// all are the rows that a query answers.
func all[T any](ctx context.Context, tx pgx.Tx, query string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}
