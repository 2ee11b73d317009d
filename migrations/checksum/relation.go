package checksum

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// name is a table's.
type name struct{ schema, name string }

func (n name) String() string { return n.schema + "." + n.name }

func (n name) compare(m name) int {
	return cmp.Or(cmp.Compare(n.schema, m.schema), cmp.Compare(n.name, m.name))
}

// table is a table with rows: a plain one, or a partitioned one with the partitions at its leaves.
type table struct {
	name    name
	parts   []name // what is read: itself, or the leaves. A foreign table among them is another database's to answer for
	columns []column
}

// listQuery lists the columns of tables with rows. pg_partition_root is null for what is no part of a partitioned table. A
// column of a domain counts as one of the type below it. A virtual generated column (PostgreSQL 18) is not stored.
const listQuery = `
	WITH RECURSIVE domain (oid, base, typmod) AS (
		SELECT t.oid, t.typbasetype, t.typtypmod FROM pg_type t JOIN pg_type b ON b.oid = t.typbasetype
		WHERE t.typtype = 'd' AND b.typtype <> 'd'
		UNION ALL
		SELECT t.oid, d.base, CASE t.typtypmod WHEN -1 THEN d.typmod ELSE t.typtypmod END
		FROM pg_type t JOIN domain d ON d.oid = t.typbasetype WHERE t.typtype = 'd'
	)
	SELECT n.nspname, c.relname, rn.nspname, r.relname, c.relkind = 'r', coalesce(a.attname, ''), coalesce(t.typname, ''),
		coalesce(t.typnamespace = 'pg_catalog'::regnamespace, false), coalesce(t.typtype = 'e', false),
		coalesce(format_type(t.oid, coalesce(d.typmod, a.atttypmod)), ''),
		coalesce(a.attnum = ANY (p.indkey), false)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace
		LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
		LEFT JOIN domain d ON d.oid = a.atttypid
		LEFT JOIN pg_type t ON t.oid = coalesce(d.base, a.atttypid)
		LEFT JOIN pg_index p ON p.indrelid = r.oid AND p.indisprimary
	WHERE (c.relkind = 'r' OR c.relkind = 'p' AND NOT c.relispartition) AND c.relpersistence <> 't'
		AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		AND NOT EXISTS (SELECT FROM pg_depend d
			WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype = 'e')
	ORDER BY n.nspname, c.relname, a.attname`

// list lists the tables with rows, by name; partitions are those of their root.
func list(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	rows, err := conn.Query(ctx, listQuery, pgx.QueryExecModeExec)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", pg.Ended(ctx, err))
	}
	tables, first := map[name]*table{}, map[name]name{} // a root's columns come with each part; they are taken with the first
	var part, root name
	var leaf bool
	var c column
	_, err = pgx.ForEachRow(rows, []any{&part.schema, &part.name, &root.schema, &root.name, &leaf, &c.name, &c.base, &c.builtin, &c.enum, &c.declared, &c.key}, func() error {
		t := tables[root]
		if t == nil {
			t = &table{name: root}
			tables[root], first[root] = t, part
		}
		if leaf && (len(t.parts) == 0 || t.parts[len(t.parts)-1] != part) {
			t.parts = append(t.parts, part)
		}
		if c.name != "" && part == first[root] {
			t.columns = append(t.columns, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", pg.Ended(ctx, err))
	}
	list := make([]table, 0, len(tables))
	for _, t := range tables {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b table) int { return a.name.compare(b.name) })
	return list, nil
}

// totals adds up whole numbers over a table's rows: aggregates over the row t, such that those of two parts can be added.
func (t table) totals(ctx context.Context, conn *pgx.Conn, aggregates []string) ([]*big.Int, error) {
	totals := make([]*big.Int, len(aggregates))
	for i := range totals {
		totals[i] = new(big.Int)
	}
	for _, part := range t.parts {
		var answers []string // one column, for a row of an answer has 1664 at most
		err := conn.QueryRow(ctx, "SELECT "+pg.Mark+" ARRAY[("+strings.Join(aggregates, ")::text, (")+")::text] FROM ONLY "+pg.Name(part.schema, part.name)+" AS t",
			pgx.QueryExecModeExec).Scan(&answers)
		if err != nil {
			return nil, fmt.Errorf("count table %s: %w", part, pg.Ended(ctx, err))
		}
		for i, answer := range answers {
			n, ok := new(big.Int).SetString(answer, 10)
			if !ok {
				return nil, fmt.Errorf("count table %s: %q is no number", part, answer)
			}
			totals[i].Add(totals[i], n)
		}
	}
	return totals, nil
}
