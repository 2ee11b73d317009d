package adopt

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// relation is a table as its shape shows it.
type relation struct {
	Schema, Name   string
	Columns, Types []string // types without their modifiers, domains as what they are over
	Readable       bool
}

// String is the table for people.
func (r relation) String() string { return r.Schema + "." + r.Name }

// sql is the table as SQL takes it.
func (r relation) sql() string { return pg.Name(r.Schema, r.Name) }

// kinds of types.
const (
	texts    = "text"
	integers = "integer"
	times    = "time"
	booleans = "boolean"
	others   = ""
)

var kinds = map[string]string{
	"text": texts, "character varying": texts, "character": texts, "name": texts, "citext": texts,
	"smallint": integers, "integer": integers, "bigint": integers,
	"timestamp with time zone": times, "timestamp without time zone": times, "date": times,
	"boolean": booleans,
}

// kind is what a column holds; others where the table has no such column.
func (r relation) kind(column string) string {
	i := slices.Index(r.Columns, column)
	if i < 0 {
		return others
	}
	return kinds[r.Types[i]]
}

// has says whether all of these columns are there, each given as "name kind".
func (r relation) has(columns ...string) bool {
	for _, c := range columns {
		var name, kind string
		if _, err := fmt.Sscan(c, &name, &kind); err != nil || r.kind(name) != kind {
			return false
		}
	}
	return true
}

// relationsQuery lists the tables of a database, those of extensions and of the system left out, whose schemas are those of
// temporary tables too. A partition is read through its parent.
const relationsQuery = `
	SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text ORDER BY a.attnum),
		array_agg(format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) ORDER BY a.attnum),
		has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_type t ON t.oid = a.atttypid
	WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
		AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	GROUP BY n.oid, n.nspname, c.oid, c.relname
	ORDER BY n.nspname, c.relname`

func relations(ctx context.Context, tx pgx.Tx) ([]relation, error) {
	rows, err := tx.Query(ctx, relationsQuery)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", pg.Ended(ctx, err))
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[relation])
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", pg.Ended(ctx, err))
	}
	return list, nil
}
