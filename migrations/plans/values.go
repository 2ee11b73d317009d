package plans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/statement"
)

// pageSize is what LIMIT and OFFSET are given: a page of a list.
const pageSize = "10"

// Values are literals for all parameters of a statement, from the data of the database, as executions for counting pages have
// them: of one row from the middle of each table, so that they belong together. Where no row has them all, some are NULL; a
// parameter that is compared with no column, such as $1 in n + $1, or with one of an empty table, is a plain value of its
// type. The second result is why there are none.
func Values(ctx context.Context, conn *pgx.Conn, s *statement.Statement) ([]string, string, error) {
	types, err := parameters(ctx, conn, s.SQL())
	if err != nil {
		return nil, "", err
	}
	used := map[int]bool{}
	for i := range types {
		used[i+1] = true
	}
	m := &measurement{conn: conn, options: Options{Timeout: defaultTimeout}, plain: true}
	return m.values(ctx, s, used, types)
}

// values are literals for the parameters that are used: of one row from the middle of each table, so that what is looked for
// is there, and for LIMIT the size of a page. The others are NULL. The second result is why there are none.
func (m *measurement) values(ctx context.Context, s *statement.Statement, used map[int]bool, types []uint32) ([]string, string, error) {
	values := make([]string, len(types))
	for i := range values {
		if !used[i+1] {
			values[i] = "NULL"
		}
	}
	for _, n := range s.Limits() {
		if n <= len(values) {
			values[n-1] = pg.Literal(pageSize)
		}
	}
	wanted := map[statement.Name][]int{} // parameters by table
	columns := map[int]statement.Column{}
	candidates := s.Parameters()
	for i := range values {
		if values[i] != "" {
			continue
		}
		column, found, err := m.column(ctx, candidates[i+1])
		if err != nil {
			return nil, "", err
		}
		if !found && m.plain {
			if why, err := m.plainly(ctx, values, types, i+1); why != "" || err != nil {
				return nil, why, err
			}
			continue
		}
		if !found {
			return nil, fmt.Sprintf("parameter $%d is compared with no column from which a value could be taken", i+1), nil
		}
		columns[i+1] = column
		wanted[column.Table] = append(wanted[column.Table], i+1)
	}
	arrays, err := m.arrays(ctx, types)
	if err != nil {
		return nil, "", err
	}
	for table, numbers := range wanted {
		var names []string
		for _, n := range numbers {
			if !slices.Contains(names, columns[n].Column) {
				names = append(names, columns[n].Column)
			}
		}
		row, err := m.middle(ctx, table, names)
		if err != nil {
			return nil, "", err
		}
		if row == nil && m.plain {
			if why, err := m.plainly(ctx, values, types, numbers...); why != "" || err != nil {
				return nil, why, err
			}
			continue
		}
		if row == nil {
			return nil, fmt.Sprintf("table %s has no row with a value in %s", table, strings.Join(names, ", ")), nil
		}
		for _, n := range numbers {
			value := row[slices.Index(names, columns[n].Column)]
			if value.text == nil {
				values[n-1] = "NULL"
				continue
			}
			text := *value.text
			if arrays[types[n-1]] && !value.array {
				text = "{" + element(text) + "}"
			}
			values[n-1] = literal(text)
		}
	}
	return values, "", nil
}

// column is the first of the candidates that the database has.
func (m *measurement) column(ctx context.Context, candidates []statement.Column) (statement.Column, bool, error) {
	var tables, names []string
	for _, c := range candidates {
		tables, names = append(tables, c.Table.SQL()), append(names, c.Column)
	}
	var at int
	err := m.conn.QueryRow(ctx, `SELECT q.at FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (relation, name, at)
			JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass(q.relation) AND a.attname = q.name AND NOT a.attisdropped
		ORDER BY 1 LIMIT 1`, tables, names).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return statement.Column{}, false, nil
	}
	if err != nil {
		return statement.Column{}, false, err
	}
	return candidates[at-1], true, nil
}

// plainly gives parameters plain values of their types. The first result is why there are none.
func (m *measurement) plainly(ctx context.Context, values []string, types []uint32, numbers ...int) (string, error) {
	for _, n := range numbers {
		err := m.conn.QueryRow(ctx, `SELECT CASE typcategory WHEN 'N' THEN '1' WHEN 'S' THEN $$'a'$$ WHEN 'B' THEN 'true' WHEN 'D' THEN $$'2000-01-01'$$
			WHEN 'T' THEN $$'1 day'$$ ELSE '' END FROM pg_catalog.pg_type WHERE oid = $1`, types[n-1]).Scan(&values[n-1])
		if err != nil || values[n-1] == "" {
			return fmt.Sprintf("no value is known of the type of parameter $%d", n), err
		}
	}
	return "", nil
}

// arrays says which of the types are arrays: the parameter of = ANY ($1) is one where the column is none.
func (m *measurement) arrays(ctx context.Context, types []uint32) (map[uint32]bool, error) {
	rows, err := m.conn.Query(ctx, "SELECT oid FROM pg_catalog.pg_type WHERE oid = ANY ($1) AND typcategory = 'A'", types)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	arrays := map[uint32]bool{}
	for _, oid := range found {
		arrays[oid] = true
	}
	return arrays, err
}

// value is that of a column, as text.
type value struct {
	text  *string // nil for NULL
	array bool    // the column's type is one
}

// middle is a row from the middle of a table's file that has values in all the columns, or another one that has; nil where
// there is none, or, for plain values, one that has some of them. A row that is in the middle of the file is found without a look at the others, and a value that many rows
// have is likely to be its.
func (m *measurement) middle(ctx context.Context, table statement.Name, columns []string) ([]value, error) {
	var list, conditions []string
	for _, c := range columns {
		list = append(list, pg.Name(c)+"::text", "pg_catalog.pg_typeof("+pg.Name(c)+")::oid IN (SELECT oid FROM pg_catalog.pg_type WHERE typcategory = 'A')")
		conditions = append(conditions, pg.Name(c)+" IS NOT NULL")
	}
	var pages int64
	var file bool
	err := m.conn.QueryRow(ctx, `SELECT pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int, c.relkind IN ('r', 'm')
		FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)`, table.SQL()).Scan(&pages, &file)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	query := "SELECT " + strings.Join(list, ", ") + " FROM " + table.SQL() + " WHERE " + strings.Join(conditions, " AND ")
	queries := []string{query + " LIMIT 1"}
	if file && pages > 1 {
		queries = []string{fmt.Sprintf("%s AND ctid >= '(%d,0)' LIMIT 1", query, pages/2), queries[0]}
	}
	if m.plain {
		queries = append(queries, "SELECT "+strings.Join(list, ", ")+" FROM "+table.SQL()+" LIMIT 1")
	}
	for _, q := range queries {
		row := make([]value, len(columns))
		var into []any
		for i := range row {
			into = append(into, &row[i].text, &row[i].array)
		}
		err := m.bounded(ctx, q, into)
		if err == nil {
			return row, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return nil, err
		}
	}
	return nil, nil
}

// bounded asks for one row within the timeout of an execution.
func (m *measurement) bounded(ctx context.Context, query string, into []any) error {
	return pgx.BeginTxFunc(ctx, m.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", m.options.Timeout.Milliseconds())); err != nil {
			return err
		}
		return tx.QueryRow(ctx, query).Scan(into...)
	})
}

// element is a text as an element of an array's text.
func element(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// literal is a text as SQL takes it whatever standard_conforming_strings is.
func literal(text string) string {
	if strings.Contains(text, `\`) {
		return "E" + strings.ReplaceAll(pg.Literal(text), `\`, `\\`)
	}
	return pg.Literal(text)
}
