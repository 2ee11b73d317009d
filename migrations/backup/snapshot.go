package backup

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
)

// snapshot is several sessions that see the same moment of a database.
type snapshot struct {
	id    string // as pg_export_snapshot names it
	conns []*pgx.Conn
}

// quiet keeps a server from ending a session that waits, within a transaction, for a dump to end. The second parameter came
// with PostgreSQL 17.
const quiet = `SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')`

// begin opens a session that reads every row the same way in any database.
func begin(ctx context.Context, url string) (*pgx.Conn, error) {
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	for _, sql := range []string{checksum.Session, quiet} {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			pg.HangUp(ctx, conn)
			return nil, fmt.Errorf("prepare session: %w", pg.Ended(ctx, err))
		}
	}
	return conn, nil
}

// takeSnapshot exports a snapshot and opens more sessions on it. Those are a matter of speed: where the server has no more
// to give, there are fewer.
func takeSnapshot(ctx context.Context, url string, sessions int) (s *snapshot, err error) {
	s = &snapshot{}
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	for i := range sessions {
		conn, err := begin(ctx, url)
		if err != nil {
			if i > 0 && ctx.Err() == nil {
				break
			}
			return s, err
		}
		s.conns = append(s.conns, conn)
		if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return s, fmt.Errorf("begin snapshot: %w", pg.Ended(ctx, err))
		}
		if i == 0 {
			if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()").Scan(&s.id); err != nil {
				return s, fmt.Errorf("export snapshot: %w", pg.Ended(ctx, err))
			}
		} else if _, err := conn.Exec(ctx, "SET TRANSACTION SNAPSHOT "+pg.Literal(s.id)); err != nil {
			return s, fmt.Errorf("share snapshot: %w", pg.Ended(ctx, err))
		}
	}
	return s, nil
}

// count counts and sums the tables, and the large objects where there are any.
func (s *snapshot) count(ctx context.Context) ([]checksum.Table, error) {
	tables, err := checksum.Tables(ctx, s.conns[0], s.conns[1:]...)
	if err != nil {
		return nil, err
	}
	objects, err := countObjects(ctx, s.conns[0])
	if err != nil {
		return nil, err
	}
	return append(tables, objects...), nil
}

// largeObjects is what stands for a table in what is counted.
const largeObjects = "large objects"

// countObjects counts and sums the large objects, nothing where there is none. A role that may not read them all may not
// dump them either, and hears it from pg_dump.
func countObjects(ctx context.Context, conn *pgx.Conn) ([]checksum.Table, error) {
	t := checksum.Table{Table: largeObjects}
	var readable bool
	err := conn.QueryRow(ctx, `SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
		pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')`).Scan(&t.Rows, &readable)
	if err == nil && t.Rows > 0 && readable {
		err = conn.QueryRow(ctx, `SELECT coalesce(pg_catalog.sum(pg_catalog.hashtextextended(pg_catalog.concat(loid, ' ', pageno, ' ', data), 0)), 0)::text
			FROM pg_catalog.pg_largeobject`).Scan(&t.Checksum)
	}
	if err != nil {
		return nil, fmt.Errorf("count large objects: %w", pg.Ended(ctx, err))
	}
	if t.Rows == 0 {
		return nil, nil
	}
	return []checksum.Table{t}, nil
}

// tableBytes is the size of what a dump holds, indexes left out.
func (s *snapshot) tableBytes(ctx context.Context) (n int64) {
	_ = s.conns[0].QueryRow(ctx, `SELECT coalesce(pg_catalog.sum(pg_catalog.pg_table_size(oid)), 0)::bigint FROM pg_catalog.pg_class
		WHERE relkind IN ('r', 'm') AND oid >= 16384 OR oid = 'pg_catalog.pg_largeobject'::regclass`).Scan(&n) // for an estimate only
	return n
}

func (s *snapshot) close(ctx context.Context) {
	for _, conn := range s.conns {
		pg.HangUp(ctx, conn)
	}
}

// Sequence is where a sequence was before and after the dump. Sequences are outside of snapshots: what a dump has of one is
// its place at some moment in between.
type Sequence struct {
	Sequence string `json:"sequence"`
	Before   int64  `json:"before"` // the last value given, or the one to start with
	After    int64  `json:"after"`
}

// sequences reads where those of the user are. A role that may not read one may not dump it either.
func sequences(ctx context.Context, conn *pgx.Conn) (map[string]int64, error) {
	rows, err := conn.Query(ctx, `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
			AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') END AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
				WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`)
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", pg.Ended(ctx, err))
	}
	type name struct{ Schema, Name string }
	names, err := pgx.CollectRows(rows, pgx.RowToStructByPos[name])
	if err != nil {
		return nil, fmt.Errorf("list sequences: %w", pg.Ended(ctx, err))
	}
	found := map[string]int64{}
	batch := &pgx.Batch{}
	for _, n := range names {
		batch.Queue("SELECT last_value FROM " + pg.Name(n.Schema, n.Name)).QueryRow(func(row pgx.Row) error {
			var value int64
			err := row.Scan(&value)
			found[n.Schema+"."+n.Name] = value
			return err
		})
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("read sequences: %w", pg.Ended(ctx, err))
	}
	return found, nil
}

// astray says which sequences of a copy are not where the original's were. One that cycles may be anywhere.
func astray(want []Sequence, got map[string]int64) (differences []string) {
	for _, s := range want {
		value, there := got[s.Sequence]
		switch {
		case !there:
			differences = append(differences, fmt.Sprintf("sequence %s is missing", s.Sequence))
		case value < min(s.Before, s.After) || value > max(s.Before, s.After):
			differences = append(differences, fmt.Sprintf("sequence %s is at %d instead of %d to %d", s.Sequence, value, s.Before, s.After))
		}
	}
	return differences
}
