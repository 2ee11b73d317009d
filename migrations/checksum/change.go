package checksum

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/migrations/history"
)

// Kind is what happened to data.
type Kind string

// The kinds. What is new, a table or a column, is no change of what was there. One that was renamed counts as removed.
const (
	TableRemoved  Kind = "table-removed"
	RowsAdded     Kind = "rows-added"
	RowsRemoved   Kind = "rows-removed"
	ColumnRemoved Kind = "column-removed"
	ValuesChanged Kind = "values-changed" // as many rows as before, but not with the same values
	TypeChanged   Kind = "type-changed"   // like ValuesChanged, in a column that has another type now
)

// Change is data that a migration changed.
type Change struct {
	Schema string `json:"schema"`
	Table  string `json:"table"`
	// Column is empty where rows came or went, and where it cannot be told in which columns rows exchanged values, for no
	// primary key stayed as it was to tell rows by.
	Column string `json:"column,omitempty"`
	Kind   Kind   `json:"kind"`
	// Before and After count the values of the column that are not null, or rows where there is no column.
	Before int64 `json:"before"`
	After  int64 `json:"after"`
}

// String is the change in one line.
func (c Change) String() string {
	at := c.Schema + "." + c.Table
	if c.Column != "" {
		at += "." + c.Column
	}
	switch c.Kind {
	case TableRemoved:
		return fmt.Sprintf("table %s with %d rows is gone", at, c.Before)
	case ColumnRemoved:
		return fmt.Sprintf("column %s with %d values is gone", at, c.Before)
	case TypeChanged:
		return fmt.Sprintf("column %s has another type, and its values are not what they were (%d before, %d now)", at, c.Before, c.After)
	case ValuesChanged:
		if c.Column != "" {
			return fmt.Sprintf("values of column %s changed (%d before, %d now)", at, c.Before, c.After)
		}
		return fmt.Sprintf("the %d rows of table %s exchanged values", c.After, at)
	}
	return fmt.Sprintf("table %s had %d rows and has %d", at, c.Before, c.After)
}

// Original is a database that others are compared with. What was summed of it is remembered, so nobody may write to it as long
// as it is in use.
type Original struct {
	conn   *pgx.Conn
	totals map[string][]*big.Int // by the question
}

// NewOriginal is the database of a session, which has run Session.
func NewOriginal(conn *pgx.Conn) *Original {
	return &Original{conn: conn, totals: map[string][]*big.Int{}}
}

// ask is table.totals, asked once.
func (o *Original) ask(ctx context.Context, t table, aggregates []string) ([]*big.Int, error) {
	question := fmt.Sprintf("%q %q", t.parts, aggregates)
	if totals, known := o.totals[question]; known {
		return totals, nil
	}
	totals, err := t.totals(ctx, o.conn, aggregates)
	if err == nil {
		o.totals[question] = totals
	}
	return totals, err
}

// Changes says how the data of another database differ from the original's: of a copy that was migrated, from one that was not.
// The session of the other one has run Session, too, and nobody writes there meanwhile. The pipeline's own tables are left out.
//
// A table is compared on the columns that both have, a partitioned one as a whole, so that rows may move between its
// partitions. A table that became a partition, or was one, is compared as a part of the partitioned table on both sides: its
// rows are where they were. Columns that have another type now are compared by their text, in the common form of numbers, of moments and of
// JSON. Where the row sums of a table differ although it has as many rows, those of each column tell which it was; where none
// of them does, rows have exchanged values, and the sums of each column together with the primary key tell.
func (o *Original) Changes(ctx context.Context, after *pgx.Conn) ([]Change, error) {
	sessions := [2]*pgx.Conn{o.conn, after}
	asks := [2]ask{o.ask, func(ctx context.Context, t table, aggregates []string) ([]*big.Int, error) {
		return t.totals(ctx, after, aggregates)
	}}
	var tables [2][]table
	err := both(ctx, func(ctx context.Context, i int) (err error) {
		tables[i], err = list(ctx, sessions[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	tables[0], tables[1] = together(tables[0], tables[1]), together(tables[1], tables[0])
	now := map[name]table{}
	for _, t := range tables[1] {
		now[t.name] = t
	}
	var changes []Change
	for _, t := range tables[0] {
		if slices.Contains(history.Names, t.name.name) {
			continue
		}
		is, still := now[t.name]
		if !still {
			totals, err := o.ask(ctx, t, []string{"count(*)"})
			if err != nil {
				return nil, err
			}
			changes = append(changes, Change{Schema: t.name.schema, Table: t.name.name, Kind: TableRemoved, Before: totals[0].Int64()})
			continue
		}
		found, err := match([2]table{t, is}, asks).changes(ctx)
		if err != nil {
			return nil, err
		}
		changes = append(changes, found...)
	}
	return changes, nil
}

// together puts the tables of one side that are partitions of a table on the other into that table.
func together(tables, other []table) []table {
	known, roots := map[name]bool{}, map[name]name{}
	for _, t := range other {
		known[t.name] = true
		for _, part := range t.parts {
			roots[part] = t.name
		}
	}
	parts := map[name][]name{}
	for _, t := range tables {
		parts[t.name] = t.parts
	}
	for _, t := range tables {
		if known[t.name] || len(t.parts) == 0 {
			continue
		}
		if into, there := parts[roots[t.parts[0]]]; there {
			parts[roots[t.parts[0]]] = slices.Concat(into, t.parts)
			delete(parts, t.name)
		}
	}
	var list []table
	for _, t := range tables {
		if p, stays := parts[t.name]; stays {
			t.parts = p
			list = append(list, t)
		}
	}
	return list
}
