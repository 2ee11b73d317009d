package adopt

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// record is one line of what a runner wrote down.
type record struct {
	Name, Version, Hash *string
	At, Made            *time.Time // when it was applied; when it was generated, which is before
	State               string
}

// mostRecords is how many lines are read of a table. Nobody has as many migrations, so one with more is another thing.
const mostRecords = 100_000

var (
	// errTooMany: a table is no record of migrations.
	errTooMany = fmt.Errorf("more than %d rows", mostRecords)
	// errHidden: the role may not see the whole of a table.
	errHidden = errors.New("not all of it can be read")
)

// reading does something that may fail without an end to the transaction.
func reading(ctx context.Context, tx pgx.Tx, do func(tx pgx.Tx) error) error {
	nested, err := tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin reading: %w", pg.Ended(ctx, err))
	}
	defer rollBack(ctx, nested)
	err = do(nested)
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == pgerrcode.InsufficientPrivilege {
		return errHidden
	}
	return pg.Ended(ctx, err)
}

// query collects the lines that a query answers.
func query[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	var list []T
	err := reading(ctx, tx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, fmt.Sprintf("SELECT * FROM (%s) AS record LIMIT %d", sql, mostRecords+1))
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		}
		if err == nil && len(list) > mostRecords {
			err = errTooMany
		}
		return err
	})
	return list, err
}

// plainRecord is a line of a table whose columns have no meaning yet.
type plainRecord struct {
	Values []*string // of the columns that may name files
	Hash   *string
	At     *time.Time
	Done   *bool
}

var (
	hashColumn    = regexp.MustCompile(`(?i)hash|checksum|sha|md5|digest`)
	numberColumn  = regexp.MustCompile(`(?i)version|number|migration|revision|timestamp`)
	timeColumn    = regexp.MustCompile(`(?i)applied|executed|run|installed|migrat|finished|completed`)
	successColumn = regexp.MustCompile(`(?i)^(?:success|succeeded|successful|applied|is_applied|done|completed)$`)
	onlyDigits    = regexp.MustCompile(`^[0-9]{1,19}$`)
)

// plainTable is how a table without a known shape is read.
type plainTable struct {
	relation
	columns []string // that may name files
}

func newPlainTable(r relation) plainTable {
	t := plainTable{relation: r}
	for _, kind := range []string{texts, integers} { // a name says more than a number
		for _, c := range r.Columns {
			if r.kind(c) == kind && !hashColumn.MatchString(c) && (kind == texts || numberColumn.MatchString(c)) {
				t.columns = append(t.columns, c)
			}
		}
	}
	return t
}

// first is the column of a kind whose name says what it is; "" where there is none.
func (t plainTable) first(kind string, name *regexp.Regexp) string {
	for _, c := range t.Columns {
		if t.kind(c) == kind && name.MatchString(c) {
			return c
		}
	}
	return ""
}

var anyName = regexp.MustCompile(``)

// query is ordered as the record was written, as far as the table tells.
func (t plainTable) query() string {
	var values, order []string
	for _, c := range t.columns {
		values = append(values, pg.Name(c)+"::text")
	}
	hash, at, done := "NULL::text", "NULL::timestamptz", "NULL::boolean"
	if c := t.first(texts, hashColumn); c != "" {
		hash = pg.Name(c) + "::text"
	}
	if t.kind("id") == integers {
		order = append(order, "id")
	}
	if c := t.timeColumn(); c != "" {
		at = pg.Name(c) + "::timestamptz"
		order = append(order, pg.Name(c))
	}
	if c := t.first(booleans, successColumn); c != "" {
		done = pg.Name(c)
	}
	sql := fmt.Sprintf("SELECT ARRAY[%s]::text[], %s, %s, %s FROM %s", strings.Join(values, ", "), hash, at, done, t.sql())
	if len(order) > 0 {
		sql += " ORDER BY " + strings.Join(order, ", ")
	}
	return sql
}

func (t plainTable) timeColumn() string {
	if c := t.first(times, timeColumn); c != "" {
		return c
	}
	return t.first(times, anyName)
}

// readPlain reads a table by the column that names most files of any folder. It answers nothing where none does.
func (e *evidence) readPlain(ctx context.Context, tx pgx.Tx, t *table) ([]record, error) {
	plain := newPlainTable(t.relation)
	if len(plain.columns) == 0 {
		return nil, nil
	}
	lines, err := query[plainRecord](ctx, tx, plain.query())
	if err != nil {
		return nil, err
	}
	t.rows = len(lines)
	var found []record
	best := 0
	for i := range plain.columns {
		list := plain.records(lines, i)
		for _, g := range e.groups() {
			matches := 0
			for _, r := range list {
				if e.find(g, r, false) != nil {
					matches++
				}
			}
			if matches > best {
				best, found = matches, list
			}
		}
	}
	t.program = best == 0 && slices.ContainsFunc(lines, func(line plainRecord) bool {
		return slices.ContainsFunc(line.Values, func(v *string) bool { return v != nil && isProgram(*v) })
	})
	return found, nil
}

// records are the lines as one of the columns tells them.
func (t plainTable) records(lines []plainRecord, column int) []record {
	var list []record
	for _, line := range lines {
		value := line.Values[column]
		if value == nil {
			continue
		}
		r := record{Hash: line.Hash, At: line.At, State: applied}
		if t.numbers(column, *value) {
			r.Version = value
		} else {
			r.Name = value
		}
		switch {
		case line.Done != nil && !*line.Done:
			r.State = failed
		case len(lines) == 1 && t.kind(t.columns[column]) == integers:
			r.State = cumulative // a counter, not a list
		}
		list = append(list, r)
	}
	return list
}

// numbers says whether a value of a column is a number rather than a name.
func (t plainTable) numbers(column int, value string) bool {
	return numberColumn.MatchString(t.columns[column]) && onlyDigits.MatchString(value)
}

// number is the version, nil where it is no number.
func (r record) number() *int64 {
	if r.Version == nil || !onlyDigits.MatchString(*r.Version) {
		return nil
	}
	return numberOf(*r.Version)
}

// understood is the sum of a table made by hand: one that at least one line agrees with, for otherwise nobody knows what
// was summed.
func understood(list []record, match func(record) *file) sum {
	agrees := slices.ContainsFunc(list, func(r record) bool {
		f := match(r)
		return f != nil && r.Hash != nil && (compare(anySum, f.body, *r.Hash) == same || compare(anySum, f.body, *r.Hash) == sameText)
	})
	if !agrees {
		return nil
	}
	return anySum
}
