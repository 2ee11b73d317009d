package integrity

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
)

// sequence is one, with the columns that it fills: those that own it, or that have it as their default.
type sequence struct {
	schema, name string
	increment    int64
	least, most  int64 // what it gives, and the narrowest of its columns holds
	columns      []filled
}

// filled is a column that a sequence fills.
type filled struct {
	name   string // for people
	table  string // as SQL takes it
	column string // as SQL takes it
	quick  bool   // an index knows its greatest and least value
}

func (s sequence) object() string { return fmt.Sprintf("sequence %s.%s", s.schema, s.name) }

// ends is the aggregate that says how far a column is.
func (s sequence) ends() string {
	if s.increment < 0 {
		return "min"
	}
	return "max"
}

// sequences finds those whose next value is not beyond what a column holds, and those that come to their end. One that cycles
// is meant to. A column of a partition is told with its root's, and one that takes part of its values from elsewhere (nextval
// in an expression) is not compared.
func (c *check) sequences(ctx context.Context) error {
	var list []sequence
	err := c.look(ctx, `
		WITH filled AS (
			SELECT d.objid AS sequence, d.refobjid AS rel, d.refobjsubid AS att FROM pg_depend d
			WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
				AND NOT EXISTS (SELECT FROM pg_attrdef x WHERE x.adrelid = d.refobjid AND x.adnum = d.refobjsubid)
			UNION
			SELECT d.refobjid, x.adrelid, x.adnum FROM pg_depend d JOIN pg_attrdef x ON x.oid = d.objid
			WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('n', 'a')
				AND pg_get_expr(x.adbin, x.adrelid) ~ '^nextval[(]''([^'']|'''')*''::regclass[)]$'
		), columns AS (
			SELECT f.sequence, format('%s.%s.%s', tn.nspname, t.relname, a.attname) AS name, format('%I.%I', tn.nspname, t.relname) AS full_table, quote_ident(a.attname) AS quoted,
				CASE b.base WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END AS most,
				EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL)
					AND (t.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = t.oid)) AS quick
			FROM filled f JOIN pg_attribute a ON a.attrelid = f.rel AND a.attnum = f.att AND NOT a.attisdropped JOIN pg_class t ON t.oid = f.rel JOIN pg_namespace tn ON tn.oid = t.relnamespace
				JOIN pg_type y ON y.oid = a.atttypid CROSS JOIN LATERAL (SELECT CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.oid END AS base) b
			WHERE NOT t.relispartition AND b.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
				AND NOT EXISTS (SELECT FROM pg_partition_tree(t.oid) p JOIN pg_class f ON f.oid = p.relid WHERE f.relkind = 'f')
		)
		SELECT n.nspname, c.relname, s.seqincrement, greatest(s.seqmin, -1 - min(k.most)), least(s.seqmax, min(k.most)),
			coalesce(array_agg(k.name ORDER BY k.name) FILTER (WHERE k.name <> ''), '{}'), coalesce(array_agg(k.full_table ORDER BY k.name) FILTER (WHERE k.name <> ''), '{}'),
			coalesce(array_agg(k.quoted ORDER BY k.name) FILTER (WHERE k.name <> ''), '{}'), coalesce(array_agg(k.quick ORDER BY k.name) FILTER (WHERE k.name <> ''), '{}')
		FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN columns k ON k.sequence = c.oid
		WHERE NOT s.seqcycle AND c.relpersistence <> 't' AND`+users+`GROUP BY n.nspname, c.relname, s.seqrelid, s.seqincrement, s.seqmin, s.seqmax ORDER BY 1, 2`,
		func(r pgx.CollectableRow) error {
			var s sequence
			var names, tables, columns []string
			var quick []bool
			if err := r.Scan(&s.schema, &s.name, &s.increment, &s.least, &s.most, &names, &tables, &columns, &quick); err != nil {
				return err
			}
			for i := range names {
				s.columns = append(s.columns, filled{name: names[i], table: tables[i], column: columns[i], quick: quick[i]})
			}
			list = append(list, s)
			return nil
		})
	if err != nil {
		return err
	}
	for _, s := range list {
		if err := c.sequence(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.object(), err)
		}
	}
	return nil
}

// sequence looks where one is. What rows hold is compared by the server, and not told.
func (c *check) sequence(ctx context.Context, s sequence) error {
	comparison := ">="
	if s.increment < 0 {
		comparison = "<="
	}
	values, ends, names := []string{}, []string{}, []string{}
	for _, f := range s.columns {
		if f.quick || c.options.Scan {
			end := fmt.Sprintf("(SELECT %s(%s) FROM %s)", s.ends(), f.column, f.table)
			ends, names = append(ends, end), append(names, f.name)
			values = append(values, fmt.Sprintf("coalesce(%s %s q.next, false)", end, comparison))
		}
	}
	var next float64
	var behind []bool
	err := c.look(ctx, fmt.Sprintf(`SELECT `+pg.Mark+` q.next::float8, ARRAY[%s]::boolean[] FROM (SELECT last_value::numeric + CASE WHEN is_called THEN %d ELSE 0 END AS next FROM %s) q`,
		strings.Join(values, ", "), s.increment, pg.Name(s.schema, s.name)),
		func(r pgx.CollectableRow) error { return r.Scan(&next, &behind) })
	if err != nil {
		return err
	}
	for i, late := range behind {
		if !late {
			continue
		}
		function := "greatest"
		if s.increment < 0 {
			function = "least"
		}
		c.found(finding.Finding{Name: SequenceBehind, Level: finding.Refuse, Basis: finding.Measured, Object: s.object(),
			Message: fmt.Sprintf("the next value of %s is not beyond what column %s holds: inserts will meet values that are there", s.object(), names[i]),
			Fix:     fmt.Sprintf("SELECT setval(%s, %s(%s));", pg.Literal(pg.Name(s.schema, s.name)), function, strings.Join(ends, ", "))})
		break
	}
	used := (next - float64(s.increment) - float64(s.least)) / (float64(s.most) - float64(s.least))
	if s.increment < 0 {
		used = (float64(s.most) - next + float64(s.increment)) / (float64(s.most) - float64(s.least))
	}
	if used*100 > exhausting {
		c.found(s.exhausting(int(used * 100)))
	}
	return nil
}

func (s sequence) exhausting(percent int) finding.Finding {
	further := "NO MAXVALUE"
	if s.increment < 0 {
		further = "NO MINVALUE"
	}
	f := finding.Finding{Name: SequenceExhausting, Level: finding.Warn, Basis: finding.Measured, Object: s.object(),
		Message: fmt.Sprintf("%s has given %d %% of its values: inserts fail when there are none left", s.object(), percent),
		Fix:     fmt.Sprintf("ALTER SEQUENCE %s AS bigint %s;", pg.Name(s.schema, s.name), further)}
	for _, column := range s.columns {
		f.Fix += fmt.Sprintf("\n-- and, unless it is bigint already; in place, this writes %s anew under a lock: better a new column that is backfilled\nALTER TABLE %s ALTER COLUMN %s TYPE bigint;",
			column.table, column.table, column.column)
	}
	return f
}
