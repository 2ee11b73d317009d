package checksum

import (
	"context"
	"math/big"
	"slices"
)

// both does something for before (0) and after (1) at once. The first error ends the other.
func both(ctx context.Context, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := do(ctx, 0); err != nil {
			cancel(err)
		}
	}()
	if err := do(ctx, 1); err != nil {
		cancel(err)
	}
	<-ended
	return context.Cause(ctx)
}

// ask asks a database for totals of a table.
type ask func(ctx context.Context, t table, aggregates []string) ([]*big.Int, error)

// side is one of two tables of a name, with the columns that both have, in the same order.
type side struct {
	ask     ask
	table   table
	columns []column
	hashes  []hash
}

// comparison is a table before and after.
type comparison struct {
	sides [2]side
	gone  []column
	key   []int // of the columns that both have, those of the primary key there was, where all are still there
}

func match(tables [2]table, asks [2]ask) comparison {
	c := comparison{sides: [2]side{{ask: asks[0], table: tables[0]}, {ask: asks[1], table: tables[1]}}}
	keyed := true
	for _, was := range tables[0].columns {
		i := slices.IndexFunc(tables[1].columns, func(c column) bool { return c.name == was.name })
		if i < 0 {
			c.gone = append(c.gone, was)
			keyed = keyed && !was.key
			continue
		}
		if was.key {
			c.key = append(c.key, len(c.sides[0].columns))
		}
		is := tables[1].columns[i]
		for i, column := range []column{was, is} {
			hash := column.hash
			if was.declared != is.declared {
				hash = comparably(column)
			}
			c.sides[i].columns, c.sides[i].hashes = append(c.sides[i].columns, column), append(c.sides[i].hashes, hash)
		}
	}
	if !keyed {
		c.key = nil
	}
	return c
}

// ask asks both sides for totals.
func (c comparison) ask(ctx context.Context, aggregates func(side) []string) (was, is []*big.Int, err error) {
	var answers [2][]*big.Int
	err = both(ctx, func(ctx context.Context, i int) (err error) {
		answers[i], err = c.sides[i].ask(ctx, c.sides[i].table, aggregates(c.sides[i]))
		return err
	})
	return answers[0], answers[1], err
}

// differing are the groups of columns whose sums are not the same on both sides.
func (c comparison) differing(ctx context.Context, groups [][]int) ([]int, error) {
	was, is, err := c.ask(ctx, func(s side) []string {
		var sums []string
		for _, group := range groups {
			hashes := make([]hash, len(group))
			for i, column := range group {
				hashes[i] = s.hashes[column]
			}
			sums = append(sums, rowSum(hashes))
		}
		return sums
	})
	if err != nil {
		return nil, err
	}
	var different []int
	for i := range groups {
		if was[i].Cmp(is[i]) != 0 {
			different = append(different, i)
		}
	}
	return different, nil
}

func (c comparison) changes(ctx context.Context) ([]Change, error) {
	change := func(column string, kind Kind, before, after *big.Int) Change {
		at := c.sides[0].table.name
		return Change{Schema: at.schema, Table: at.name, Column: column, Kind: kind, Before: before.Int64(), After: after.Int64()}
	}
	var changes []Change
	if len(c.gone) > 0 {
		counts, err := c.sides[0].ask(ctx, c.sides[0].table, countOf(c.gone...))
		if err != nil {
			return nil, err
		}
		for i, column := range c.gone {
			changes = append(changes, change(column.name, ColumnRemoved, counts[i], new(big.Int)))
		}
	}
	was, is, err := c.ask(ctx, func(s side) []string { return []string{"count(*)", rowSum(s.hashes)} })
	if err != nil {
		return nil, err
	}
	switch rows := was[0].Cmp(is[0]); {
	case rows < 0:
		return append(changes, change("", RowsAdded, was[0], is[0])), nil
	case rows > 0:
		return append(changes, change("", RowsRemoved, was[0], is[0])), nil
	case was[1].Cmp(is[1]) == 0:
		return changes, nil
	}
	guilty, all, err := c.guilty(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range guilty {
		before, after, err := c.ask(ctx, func(s side) []string { return countOf(s.columns[i]) })
		if err != nil {
			return nil, err
		}
		kind := ValuesChanged
		if c.sides[0].columns[i].declared != c.sides[1].columns[i].declared {
			kind = TypeChanged
		}
		changes = append(changes, change(c.sides[0].columns[i].name, kind, before[0], after[0]))
	}
	if !all {
		changes = append(changes, change("", ValuesChanged, was[0], is[0]))
	}
	return changes, nil
}

// countOf are aggregates for how many values of columns are not null.
func countOf(columns ...column) []string {
	counts := make([]string, len(columns))
	for i, c := range columns {
		counts[i] = "count(" + c.sql() + ")"
	}
	return counts
}

// guilty are the columns whose values are not what they were, or not in the rows where they were, and whether these explain
// all the difference.
func (c comparison) guilty(ctx context.Context) (guilty []int, all bool, err error) {
	columns := len(c.sides[0].columns)
	single := make([][]int, columns)
	for i := range single {
		single[i] = []int{i}
	}
	guilty, err = c.differing(ctx, single)
	if err != nil {
		return nil, false, err
	}
	var rest []int
	for i := range columns {
		if !slices.Contains(guilty, i) {
			rest = append(rest, i)
		}
	}
	moved, err := c.differing(ctx, [][]int{rest, c.key})
	if err != nil || !slices.Contains(moved, 0) {
		return guilty, err == nil, err
	}
	if len(c.key) == 0 || slices.Contains(moved, 1) { // nothing that rows can be told by
		return guilty, false, nil
	}
	rest = slices.DeleteFunc(rest, func(i int) bool { return slices.Contains(c.key, i) })
	keyed := make([][]int, len(rest))
	for at, i := range rest {
		keyed[at] = append(slices.Clone(c.key), i)
	}
	moved, err = c.differing(ctx, keyed)
	for _, at := range moved {
		guilty = append(guilty, rest[at])
	}
	slices.Sort(guilty)
	return guilty, err == nil && len(moved) > 0, err
}
