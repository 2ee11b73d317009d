package integrity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
)

// condition is what no row of a table may fulfil: null in a column, or false in a check.
type condition struct {
	constraint
	column string
	sql    string
}

// rows reads each table once, for all its checks and columns that refuse nulls. A table in an inheritance tree has its parents'
// constraints as its own, and is looked at without its children.
//
// A null is looked for with num_nulls, which the planner knows nothing of: IS NULL it would answer from the schema. FILTER is
// not subject to constraint exclusion.
func (c *check) rows(ctx context.Context) error {
	if !c.options.Scan {
		return nil
	}
	var conditions []condition
	err := c.look(ctx, `
		SELECT n.nspname, c.relname, con.conname, con.convalidated, '', 'NOT (' || pg_get_expr(con.conbin, con.conrelid) || ')'
		FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE con.contype = 'c' AND c.relkind = 'r' AND c.relpersistence <> 't' AND`+enforced+"AND"+users+`
		UNION ALL
		SELECT n.nspname, c.relname, '', NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.convalidated), a.attname, format('num_nulls(%I) > 0', a.attname)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' AND c.relpersistence <> 't' AND`+users+`
		ORDER BY 1, 2, 3, 5`,
		func(r pgx.CollectableRow) error {
			var k condition
			err := r.Scan(&k.Schema, &k.Table, &k.Name, &k.Validated, &k.column, &k.sql)
			conditions = append(conditions, k)
			return err
		})
	if err != nil {
		return err
	}
	for from := 0; from < len(conditions); {
		to := from + 1
		for to < len(conditions) && conditions[to].Schema == conditions[from].Schema && conditions[to].Table == conditions[from].Table {
			to++
		}
		if err := c.scan(ctx, conditions[from:to]); err != nil {
			return fmt.Errorf("of %s.%s: %w", conditions[from].Schema, conditions[from].Table, err)
		}
		from = to
	}
	return nil
}

// scan counts the rows of one table that fulfil conditions. A check may call a function that fails: then each is tried alone.
func (c *check) scan(ctx context.Context, conditions []condition) error {
	var counts []string
	for _, k := range conditions {
		counts = append(counts, "count(*) FILTER (WHERE "+k.sql+")")
	}
	table := conditions[0]
	var rows []int64
	err := c.look(ctx, "SELECT "+pg.Mark+" ARRAY["+strings.Join(counts, ", ")+"] FROM ONLY "+pg.Name(table.Schema, table.Table),
		func(r pgx.CollectableRow) error { return r.Scan(&rows) })
	switch {
	case err == nil:
		for i, k := range conditions {
			if rows[i] > 0 {
				c.found(k.broken(rows[i]))
			}
		}
		return nil
	case !fails(err):
		return err
	case len(conditions) == 1:
		c.found(table.unchecked("the server refuses the query, with " + code(err)))
		return nil
	}
	for i := range conditions {
		if err := c.scan(ctx, conditions[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// fails says that an expression was at fault (it raises, divides by zero, calls what is not there), and not the session, a lock
// or a privilege.
func fails(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code == pgerrcode.InsufficientPrivilege || server.Code == pgerrcode.UndefinedTable {
		return false
	}
	return pgerrcode.IsDataException(server.Code) || pgerrcode.IsPLpgSQLError(server.Code) ||
		pgerrcode.IsSyntaxErrororAccessRuleViolation(server.Code) || pgerrcode.IsExternalRoutineException(server.Code)
}

// code is what of an error may be shown: its message might quote a value.
func code(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return "SQLSTATE " + server.Code
	}
	return "no SQLSTATE"
}

func (k condition) broken(rows int64) finding.Finding {
	look := fmt.Sprintf("-- look at them:\nSELECT * FROM ONLY %s WHERE %s;", pg.Name(k.Schema, k.Table), k.sql)
	if k.Name == "" {
		column := fmt.Sprintf("column %s.%s.%s", k.Schema, k.Table, k.column)
		return finding.Finding{Name: NullInNotNull, Level: k.level(), Basis: finding.Measured, Object: column,
			Message: fmt.Sprintf("%s of %s.%s hold null in %s, which refuses it", finding.Count(rows, "row"), k.Schema, k.Table, column), Fix: look}
	}
	return finding.Finding{Name: BrokenCheck, Level: k.level(), Basis: finding.Measured, Object: k.object(),
		Message: fmt.Sprintf("%s of %s.%s break %s", finding.Count(rows, "row"), k.Schema, k.Table, k.object()), Fix: look}
}
