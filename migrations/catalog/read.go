package catalog

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// settings make the server write definitions the same in every session: names with their schema, constants in one form. They
// end with the transaction. A database of encoding SQL_ASCII may hold any bytes, which the server would refuse to send as UTF-8.
const settings = `SET LOCAL search_path = pg_catalog; SET LOCAL quote_all_identifiers = off; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD';
	SET LOCAL intervalstyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C';
	SET LOCAL lock_timeout = '10s';
	SELECT set_config('client_encoding', CASE current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END, true);`

// Read takes a snapshot of the user's schema. It reads in a transaction of its own that writes nothing, or, where the session
// is in one, at a savepoint in that, and so sees what the transaction did. The session's settings stay as they are. It waits
// 10 s at most for a table that another session has locked exclusively.
func Read(ctx context.Context, conn *pgx.Conn) (*Snapshot, error) {
	s := &Snapshot{Knows: map[string][]string{}, Order: map[string][]string{}, Objects: []Object{}}
	err := pg.Borrow(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", settings, func() error { return s.readAll(ctx, conn) })
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return s, nil
}

func (s *Snapshot) readAll(ctx context.Context, conn *pgx.Conn) error {
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int", pgx.QueryExecModeExec).Scan(&s.Server); err != nil {
		return fmt.Errorf("server's version: %w", pg.Ended(ctx, err))
	}
	for _, source := range sources() {
		if source.since > s.Server {
			continue
		}
		if err := s.read(ctx, conn, source); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(source.kinds, ", "), pg.Ended(ctx, err))
		}
	}
	slices.SortFunc(s.Objects, Object.compare)
	if err := s.readOrder(ctx, conn); err != nil {
		return fmt.Errorf("order of columns: %w", pg.Ended(ctx, err))
	}
	return nil
}

// read adds the objects of a source.
func (s *Snapshot) read(ctx context.Context, conn *pgx.Conn, from source) error {
	known := from.known(s.Server)
	for _, kind := range from.kinds {
		for _, p := range known {
			if !slices.Contains(s.Knows[kind], p.name) { // two sources may have a kind in common
				s.Knows[kind] = append(s.Knows[kind], p.name)
			}
		}
		slices.Sort(s.Knows[kind])
	}
	rows, err := conn.Query(ctx, from.query(s.Server), pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	var o Object
	var values []*string
	_, err = pgx.ForEachRow(rows, []any{&o.Kind, &o.Name, &values}, func() error {
		o := Object{Kind: o.Kind, Name: valid(o.Name)}
		for i, value := range values {
			if value == nil || *value == "" {
				continue
			}
			if o.Properties == nil {
				o.Properties = map[string]string{}
			}
			o.Properties[known[i].name] = settled(valid(*value))
		}
		s.Objects = append(s.Objects, o)
		return nil
	})
	return err
}

func (s *Snapshot) readOrder(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "WITH relation AS ("+relations+`) SELECT r.full_name, array_agg(quote_ident(a.attname) ORDER BY a.attnum)
		FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE r.relkind <> 'S' AND a.attnum > 0 AND NOT a.attisdropped GROUP BY 1`, pgx.QueryExecModeExec)
	if err != nil {
		return err
	}
	var table string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&table, &columns}, func() error {
		order := make([]string, len(columns))
		for i, c := range columns {
			order[i] = valid(c)
		}
		s.Order[valid(table)] = order
		return nil
	})
	return err
}

// unsettled is a list of varchar that the server compares as text, as in CHECK (name IN ('a', 'b')).
var unsettled = regexp.MustCompile(`\(ARRAY\[(E?'(?:[^']|'')*'::character varying(?:, E?'(?:[^']|'')*'::character varying)*)\]\)::text\[\]`)

var varchar = regexp.MustCompile(`E?'(?:[^']|'')*'::character varying`)

// settled is a definition as it comes back when it is dumped and restored. Of all that a server writes, a list of varchar is
// known to be read by itself as something else: the cast of the list becomes one of each member.
func settled(definition string) string {
	return unsettled.ReplaceAllStringFunc(definition, func(list string) string {
		list = strings.TrimSuffix(strings.TrimPrefix(list, "("), ")::text[]")
		return varchar.ReplaceAllString(list, "($0)::text")
	})
}

// valid is a text as JSON can keep it.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }
