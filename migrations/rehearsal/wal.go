package rehearsal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// walMeter tells how much write-ahead log the statements of a database have written, the probes' own left out.
// pg_stat_statements counts it by statement (wal_bytes, since PostgreSQL 13). Where that is not loaded, the log's position
// is all there is, and the probes are in it.
type walMeter struct {
	conn     *pgx.Conn // on another database, whose schema is not looked at; nil: by position
	view     string
	database uint32
}

const ownSchema = "pipeline_rehearsal"

// openWALMeter measures the database of url from another one of its server, which is thrown away afterwards, so that the
// extension may be made there.
func openWALMeter(ctx context.Context, url, beside string) (*walMeter, error) {
	w := &walMeter{}
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer pg.HangUp(ctx, conn)
	var loaded bool
	err = conn.QueryRow(ctx, `SELECT (SELECT oid FROM pg_database WHERE datname = current_database()),
		current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%' AND rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&w.database, &loaded)
	if err != nil {
		return nil, fmt.Errorf("look at the copy: %w", pg.Ended(ctx, err))
	}
	if !loaded {
		return w, nil
	}
	if w.conn, err = pg.Connect(ctx, beside); err != nil {
		return nil, err
	}
	var schema string
	find := func() error {
		return w.conn.QueryRow(ctx, "SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pg_stat_statements'").Scan(&schema)
	}
	if err = find(); errors.Is(err, pgx.ErrNoRows) {
		_, err = w.conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+ownSchema+"; CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA "+ownSchema, pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			err = find()
		}
	}
	if err != nil {
		w.close(ctx)
		w.conn = nil // the server has the library and not the extension's files
		return w, nil
	}
	w.view = schema + ".pg_stat_statements"
	return w, nil
}

func (w *walMeter) read(ctx context.Context, conn *pgx.Conn) (bytes int64, err error) {
	if w.conn == nil {
		err = conn.QueryRow(ctx, "SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").Scan(&bytes)
		return bytes, err
	}
	err = w.conn.QueryRow(ctx, "SELECT coalesce(sum(wal_bytes), 0)::bigint FROM "+w.view+" WHERE dbid = $1 AND query NOT LIKE '%"+mark+"%'", w.database).Scan(&bytes)
	return bytes, err
}

func (w *walMeter) close(ctx context.Context) {
	if w.conn != nil {
		pg.HangUp(ctx, w.conn)
	}
}
