package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// The tables in the pipeline's schema that are used here. What was taken back is read in the history.
const (
	backfills = "deploy_backfills"
	record    = "deploy_migrations"
)

// table is deploy_backfills: a row for every backfill that has begun. The position is a key in PostgreSQL's binary form,
// which no setting of a session changes (a time's text depends on DateStyle and time zone, a float's on
// extra_float_digits); beside it is its text, for people.
type table struct{ schema string }

const columns = `version bigint PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, state text NOT NULL, pass int NOT NULL DEFAULT 1,
	once boolean NOT NULL DEFAULT false, position bytea, position_text text, done bigint NOT NULL DEFAULT 0, batches bigint NOT NULL DEFAULT 0,
	pass_done bigint NOT NULL DEFAULT 0, pass_seen bigint NOT NULL DEFAULT 0, batch bigint NOT NULL, total bigint NOT NULL,
	rate float8 NOT NULL DEFAULT 0, throttled text, error text, history bigint NOT NULL,
	started_at timestamptz NOT NULL DEFAULT clock_timestamp(), updated_at timestamptz NOT NULL DEFAULT clock_timestamp()`

func (t table) name() string { return pg.Name(t.schema, backfills) }

// create makes the table where it is missing. It is asked for first because CREATE TABLE IF NOT EXISTS needs the privilege
// to create even when there is nothing to do. The caller holds the migration lock.
func (t table) create(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	err := conn.QueryRow(ctx, "SELECT pg_catalog.to_regclass($1) IS NOT NULL", t.name()).Scan(&there)
	if err == nil && !there {
		err = t.write(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "CREATE TABLE "+t.name()+" ("+columns+")")
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", backfills, pg.Ended(ctx, err))
	}
	return nil
}

// write does something in a transaction, whatever the session's own transactions are (default_transaction_read_only).
func (t table) write(ctx context.Context, conn *pgx.Conn, do func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, do)
}

// The advisory locks of a backfill. PostgreSQL grants them in the order in which they were asked for; a lock on the row
// would go to whoever is the quickest, so that Pause could wait for ever between one batch and the next.
const (
	alive = "alive" // held by the session that works on it; by it others see the session, which needs no privilege
	turn  = "turn"  // held by a batch, until it commits
)

// key is that of an advisory lock, in SQL.
func (t table) key(lock, version string) string {
	return "pg_catalog.hashtextextended(" + pg.Literal(backfills+" "+lock+" "+t.schema+" ") + " || " + version + ", 0)"
}

// enter takes the lock.
func (t table) enter(ctx context.Context, conn *pgx.Conn, version int64) error {
	var entered bool
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock("+t.key(alive, "$1::bigint")+")", version).Scan(&entered); err != nil {
		return fmt.Errorf("begin backfill: %w", pg.Ended(ctx, err))
	}
	if !entered {
		return fmt.Errorf("another session is at work on the backfill of version %d: wait for it", version)
	}
	return nil
}

// leave gives the lock back, even when the run was canceled.
func (t table) leave(ctx context.Context, conn *pgx.Conn, version int64) {
	if conn.IsClosed() {
		return
	}
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	_, _ = conn.Exec(ctx, "SELECT pg_catalog.pg_advisory_unlock("+t.key(alive, "$1::bigint")+")", version) // the server does it at the latest when the session ends
}

// worker is the query for the session that is at work on a backfill.
func (t table) worker(version string) string {
	return `SELECT l.pid FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
		AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
		AND (l.classid::bigint << 32) | l.objid::bigint = ` + t.key(alive, version)
}

// read is what a Progress is made of, from row b.
func (t table) read() string {
	return `SELECT b.version, b.name, CASE WHEN b.state = 'running' AND NOT EXISTS (` + t.worker("b.version") + `) THEN 'interrupted' ELSE b.state END, b.pass, b.once,
		b.done, b.batches, coalesce(b.position_text, ''), b.total, b.batch, b.started_at, b.updated_at, coalesce(b.throttled, ''), b.rate,
		coalesce(b.error, ''), b.pass_seen FROM ` + t.name() + ` b`
}

// exact makes pgx ask for the types first and then for binary answers, which no DateStyle changes.
const exact = pgx.QueryExecModeDescribeExec

func scanProgress(row pgx.CollectableRow) (Progress, error) {
	var p Progress
	err := row.Scan(&p.Version, &p.Name, &p.State, &p.Pass, &p.Once, &p.Done, &p.Batches, &p.Position, &p.Total, &p.Batch,
		&p.StartedAt, &p.UpdatedAt, &p.Throttled, &p.Rate, &p.Error, &p.seen)
	p.estimate()
	return p, err
}

// get reads the progress of one backfill, as it is in the table.
func (t table) get(ctx context.Context, conn *pgx.Conn, version int64) (Progress, error) {
	rows, err := conn.Query(ctx, t.read()+" WHERE b.version = $1", exact, version)
	var p Progress
	if err == nil {
		p, err = pgx.CollectExactlyOneRow(rows, scanProgress)
	}
	if err != nil {
		return p, fmt.Errorf("read %s: %w", backfills, pg.Ended(ctx, err))
	}
	return p, nil
}

// List is all backfills of a database by version; empty where there were none. It waits for nobody.
func List(ctx context.Context, conn *pgx.Conn, schema string) ([]Progress, error) {
	rows, err := conn.Query(ctx, table{schema}.read()+" ORDER BY b.version", exact)
	var list []Progress
	if err == nil {
		list, err = pgx.CollectRows(rows, scanProgress)
	}
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list backfills: %w", pg.Ended(ctx, err))
	}
	return list, nil
}

// Pause stops a backfill, from any session and without the migration lock. It waits for the batch that is at work, and for
// no other: when it has returned, no further batch begins, and Run ends with ErrPaused.
func Pause(ctx context.Context, conn *pgx.Conn, schema string, version int64) error {
	t := table{schema}
	return t.write(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock("+t.key(turn, "$1::bigint")+")", version); err != nil {
			return fmt.Errorf("pause backfill of version %d: %w", version, pg.Ended(ctx, err))
		}
		return t.set(ctx, tx, version, "pause", Paused, string(Running), string(Failed), string(Paused))
	})
}

// Resume lets Run go on with a paused backfill: the next one, or one that has not come to its next batch since.
func Resume(ctx context.Context, conn *pgx.Conn, schema string, version int64) error {
	t := table{schema}
	return t.write(ctx, conn, func(tx pgx.Tx) error { return t.set(ctx, tx, version, "resume", Running, string(Paused)) })
}

// set changes the state from one of those given.
func (t table) set(ctx context.Context, tx pgx.Tx, version int64, verb string, to State, from ...string) error {
	tag, err := tx.Exec(ctx, "UPDATE "+t.name()+" SET state = $2, updated_at = pg_catalog.clock_timestamp() WHERE version = $1 AND state = ANY ($3)",
		version, to, from)
	var was State
	if err == nil && tag.RowsAffected() == 0 {
		err = tx.QueryRow(ctx, "SELECT state FROM "+t.name()+" WHERE version = $1", version).Scan(&was)
	}
	switch {
	case missing(err), errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%s backfill of version %d: it has not begun", verb, version)
	case err != nil:
		return fmt.Errorf("%s backfill of version %d: %w", verb, version, pg.Ended(ctx, err))
	case was != "":
		return fmt.Errorf("%s backfill of version %d: it is %s", verb, version, was)
	}
	return nil
}

// missing says that a table does not exist.
func missing(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == pgerrcode.UndefinedTable
}
