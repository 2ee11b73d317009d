package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/script"
)

// target is the table that a backfill goes through, by its key.
type target struct {
	name         string // as SQL takes it, with its schema
	key          string // as SQL takes it
	position     kind   // of the key
	lower, upper kind   // of $1 and $2, which a cast in the statement may make another
	oids         []uint32
	rows         int64 // as the planner estimates them
}

// kind is a type.
type kind struct {
	sql    string
	format int16 // of the protocol: binary, or text for the few types that have no binary form
}

// relation is one table of the target: itself, its partitions, and what inherits from it.
type relation struct {
	Schema, Name, Kind         string
	Found, NotNull, Valid, Led bool
}

// look finds the target and refuses one that could not be gone through from one end to the other in small batches. The
// caller is in a transaction, with the search path that the statement will have.
func look(ctx context.Context, conn *pgx.Conn, s *script.Script) (target, error) {
	b := s.Declared.Backfill
	at := func(format string, args ...any) error {
		return fmt.Errorf("%s:%d: backfill %s by %s: %s", b.File, b.Line, b.Table, b.Key, fmt.Sprintf(format, args...))
	}
	failed := func(err error) error {
		var server *pgconn.PgError
		if ctx.Err() == nil && errors.As(err, &server) {
			return fmt.Errorf("%w (%s)", at("%s", server.Message), server.Code)
		}
		return fmt.Errorf("look at %s: %w", b.Table, pg.Ended(ctx, err))
	}
	var t target
	var oid, keyType *uint32
	var column, path string
	var parts int
	var hidden *bool
	err := conn.QueryRow(ctx, `SELECT r.oid, r.key[1]::name::text, pg_catalog.row_security_active(r.oid), pg_catalog.current_setting('search_path'),
			 pg_catalog.cardinality(r.key) FROM (SELECT pg_catalog.to_regclass($1)::oid AS oid, pg_catalog.parse_ident($2) AS key) r`, b.Table, b.Key).
		Scan(&oid, &column, &hidden, &path, &parts)
	switch {
	case err != nil:
		return t, failed(err)
	case oid == nil:
		return t, at("no such table; the search path is %s", path)
	case parts != 1:
		return t, at("%s is not the name of a column", b.Key)
	}
	rows, err := conn.Query(ctx, `
		WITH RECURSIVE tree (oid) AS (SELECT $1::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid)
		SELECT n.nspname::text, c.relname::text, c.relkind::text, a.attnum IS NOT NULL, coalesce(a.attnotnull, false),
			NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o -- PostgreSQL 18 has NOT NULL … NOT VALID
				WHERE o.conrelid = c.oid AND o.contype = 'n' AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated),
			c.relkind = 'p' OR EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
				JOIN pg_catalog.pg_am m ON m.oid = x.relam JOIN pg_catalog.pg_opclass p ON p.oid = i.indclass[0]
				WHERE i.indrelid = c.oid AND i.indisvalid AND i.indisready AND i.indpred IS NULL AND m.amname = 'btree'
					AND i.indkey[0] = a.attnum AND i.indcollation[0] = a.attcollation AND p.opcdefault)
		FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY c.oid <> $1, n.nspname, c.relname`, *oid, column)
	if err != nil {
		return t, failed(err)
	}
	tree, err := pgx.CollectRows(rows, pgx.RowToStructByPos[relation])
	if err != nil {
		return t, failed(err)
	}
	if fault := unfit(tree, column, hidden != nil && *hidden); fault != "" {
		return t, at("%s", fault)
	}
	t.name, t.key = pg.Name(tree[0].Schema, tree[0].Name), pg.Name(column)
	if err := conn.QueryRow(ctx, "SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2", *oid, column).Scan(&keyType); err != nil {
		return t, failed(err)
	}
	if t.rows, err = estimate(ctx, conn, t.name); err != nil {
		return t, failed(err)
	}
	described, err := conn.PgConn().Prepare(ctx, "", s.SQL(0), nil)
	if err != nil {
		return t, explain(ctx, s, err)
	}
	if t.oids = described.ParamOIDs; len(t.oids) != 2 {
		return t, at("the statement has %d parameters: a batch is $1 and $2", len(t.oids))
	}
	for _, want := range []struct {
		kind *kind
		oid  uint32
	}{{&t.position, *keyType}, {&t.lower, t.oids[0]}, {&t.upper, t.oids[1]}} {
		if *want.kind, err = kindOf(ctx, conn, want.oid); err != nil {
			return t, failed(err)
		}
	}
	return t, nil
}

// unfit says what is wrong with a tree of tables, and what to do.
func unfit(tree []relation, column string, hidden bool) string {
	for i, r := range tree {
		name := pg.Name(r.Schema, r.Name)
		switch {
		case r.Kind == "f":
			return fmt.Sprintf("%s is a foreign table, which does not commit together with the progress", name)
		case r.Kind != "r" && r.Kind != "p":
			return fmt.Sprintf("%s is no table", name)
		case !r.Found:
			return fmt.Sprintf("%s has no column %s", name, pg.Name(column))
		case !r.NotNull || !r.Valid:
			return fmt.Sprintf("%s of %s may be NULL, and such rows are in no batch: choose another key, or make it NOT NULL in a migration before this one", pg.Name(column), name)
		case !r.Led:
			return fmt.Sprintf("no index of %s begins with %s, so every batch would read the whole table: CREATE INDEX CONCURRENTLY ON %[1]s (%[2]s) in a migration before this one", name, pg.Name(column))
		case i == 0 && hidden:
			return fmt.Sprintf("row-level security hides rows of %s from this user: migrate as the table's owner, or as a user with BYPASSRLS", name)
		}
	}
	return ""
}

// estimate asks the planner, who also knows tables that were never analyzed, by their size.
func estimate(ctx context.Context, conn *pgx.Conn, table string) (int64, error) {
	var answer []byte
	if err := conn.QueryRow(ctx, "EXPLAIN (FORMAT JSON) SELECT FROM "+table).Scan(&answer); err != nil {
		return 0, err
	}
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	if err := json.Unmarshal(answer, &plans); err != nil || len(plans) != 1 {
		return 0, fmt.Errorf("read the planner's estimate: %w", err)
	}
	return int64(plans[0].Plan.Rows), nil
}

func kindOf(ctx context.Context, conn *pgx.Conn, oid uint32) (k kind, err error) {
	var schema, name string // not format_type: its character is character(1) to a cast
	err = conn.QueryRow(ctx, `SELECT n.nspname::text, t.typname::text, CASE WHEN t.typsend <> 0 AND t.typreceive <> 0 THEN 1 ELSE 0 END::int2
		FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1`, oid).Scan(&schema, &name, &k.format)
	k.sql = pg.Name(schema, name)
	return k, err
}

// bounds is the query for a batch: its first and last key as $1 and $2 of the statement, its last key as a position and as
// text, and how many rows it has. It has one parameter, the position, where after.
func (t target) bounds(rows int, after bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "WITH "+pg.Mark+" batch AS MATERIALIZED (SELECT t.%s AS k FROM %s AS t ", t.key, t.name)
	if after {
		fmt.Fprintf(&b, "WHERE t.%s > $1 ", t.key)
	}
	fmt.Fprintf(&b, `ORDER BY t.%s LIMIT %d), a AS (SELECT k FROM batch ORDER BY k LIMIT 1), z AS (SELECT k FROM batch ORDER BY k DESC LIMIT 1)
		SELECT a.k::%s, z.k::%s, z.k, z.k, (SELECT pg_catalog.count(*) FROM batch) FROM a, z`, t.key, rows, t.lower.sql, t.upper.sql)
	return b.String()
}

// unchanged is the query for how many rows of a batch are as the transaction left them before its savepoint.
func (t target) unchanged() string {
	return fmt.Sprintf("SELECT "+pg.Mark+" pg_catalog.count(*) FROM %s AS t WHERE t.%s BETWEEN $1 AND $2 AND t.xmin = pg_catalog.pg_current_xact_id()::xid", t.name, t.key)
}

func (t target) formats() []int16 {
	return []int16{t.lower.format, t.upper.format, t.position.format, pgx.TextFormatCode, pgx.TextFormatCode}
}

// explain is an error about the statement, with its place in the file where it is the server's.
func explain(ctx context.Context, s *script.Script, err error) error {
	var server *pgconn.PgError
	if ctx.Err() == nil && errors.As(err, &server) {
		return s.Explain(server, s.Statements[0].Start, 0)
	}
	return fmt.Errorf("%s: %w", s.File, pg.Ended(ctx, err))
}
