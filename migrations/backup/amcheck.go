package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// amcheckSchema holds the extension while it is needed, so that none of its names is among the application's.
const amcheckSchema = "pipeline_amcheck"

// amcheck checks tables and B-tree indexes of a database, and that every row is in every index, as pg_amcheck
// --heapallindexed does. It asks the extension itself: pg_amcheck would be one more program to have, there is none for
// PostgreSQL 13, and it leaves the extension behind. What was not there before is gone afterwards.
func amcheck(ctx context.Context, url string, jobs int) (detail string, err error) {
	conn, err := begin(ctx, url)
	if err != nil {
		return "", err
	}
	defer pg.HangUp(ctx, conn)
	schema, made, err := addAmcheck(ctx, conn)
	if err != nil {
		return "", err
	}
	if made {
		defer func() {
			ctx, cancel := pg.Farewell(ctx)
			defer cancel()
			if _, drop := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+amcheckSchema+" CASCADE"); drop != nil {
				err = errors.Join(err, fmt.Errorf("remove the extension amcheck from the copy: %w", drop))
			}
		}()
	}
	targets, err := amcheckTargets(ctx, conn, schema)
	if err != nil {
		return "", err
	}
	queue := make(chan target, len(targets))
	for _, t := range targets {
		queue <- t
	}
	close(queue)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error)
	jobs = max(1, min(jobs, len(targets)))
	for range jobs {
		go func() { ended <- checkAll(ctx, url, queue, cancel) }()
	}
	for range jobs {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return "", context.Cause(ctx)
	}
	return fmt.Sprintf("%d tables and indexes are sound", len(targets)), nil
}

func checkAll(ctx context.Context, url string, queue <-chan target, cancel context.CancelCauseFunc) error {
	conn, err := begin(ctx, url)
	if err == nil {
		defer pg.HangUp(ctx, conn)
		for t := range queue {
			if err = t.check(ctx, conn); err != nil {
				break
			}
		}
	}
	if err != nil {
		cancel(err) // the first counts, not what it did to the others
	}
	return err
}

// addAmcheck finds the extension's schema, or makes it. A skip says why it cannot be had. Event triggers of the application,
// which may refuse to have a schema made, do not fire for a replica.
func addAmcheck(ctx context.Context, conn *pgx.Conn) (schema string, made bool, err error) {
	err = conn.QueryRow(ctx, `SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
		WHERE e.extname = 'amcheck'`).Scan(&schema)
	if err == nil {
		return schema, false, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return "", false, fmt.Errorf("look for amcheck: %w", pg.Ended(ctx, err))
	}
	for _, sql := range []string{
		"SET session_replication_role = replica; SET default_transaction_read_only = off",
		"CREATE SCHEMA " + amcheckSchema + "; CREATE EXTENSION amcheck SCHEMA " + amcheckSchema,
	} {
		if _, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			break
		}
	}
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return amcheckSchema, true, nil
	case !errors.As(err, &refused):
	case refused.Code == pgerrcode.InsufficientPrivilege:
		return "", false, skip{"it takes a superuser of the copy's server: " + refused.Message}
	case refused.Code == pgerrcode.UndefinedFile, refused.Code == pgerrcode.FeatureNotSupported:
		return "", false, skip{"the copy's server does not have the extension amcheck (postgresql-contrib): " + refused.Message}
	}
	return "", false, fmt.Errorf("add the extension amcheck to the copy: %w", pg.Ended(ctx, err))
}

// target is a table or an index to check.
type target struct {
	OID   uint32
	Index bool
	Name  string
	SQL   string
}

// amcheckTargets lists them, the largest first, so that the sessions end at the same time. PostgreSQL 13 has no
// verify_heapam.
func amcheckTargets(ctx context.Context, conn *pgx.Conn, schema string) ([]target, error) {
	index := "SELECT nullif(" + pg.Name(schema) + ".bt_index_check($1::pg_catalog.oid::pg_catalog.regclass, true)::text, '')" // void
	heap := "SELECT msg FROM " + pg.Name(schema) + ".verify_heapam($1::pg_catalog.oid::pg_catalog.regclass, on_error_stop := true, check_toast := true) LIMIT 1"
	rows, err := conn.Query(ctx, `SELECT c.oid, c.relkind = 'i', n.nspname || '.' || c.relname, CASE c.relkind WHEN 'i' THEN $1 ELSE $2 END
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_am a ON a.oid = c.relam
			LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
		WHERE c.relpersistence <> 't' AND (c.relkind = 'i' AND a.amname = 'btree' AND i.indisvalid AND i.indisready
			OR c.relkind IN ('r', 'm', 't') AND a.amname = 'heap'
				AND EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname = 'verify_heapam' AND p.pronamespace = $3::text::pg_catalog.regnamespace))
		ORDER BY pg_catalog.pg_relation_size(c.oid) DESC`, index, heap, pg.Name(schema))
	if err != nil {
		return nil, fmt.Errorf("list what to check: %w", pg.Ended(ctx, err))
	}
	targets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[target])
	if err != nil {
		return nil, fmt.Errorf("list what to check: %w", pg.Ended(ctx, err))
	}
	return targets, nil
}

// check checks one. What the extension says of a fault names blocks and places in them, and no values.
func (t target) check(ctx context.Context, conn *pgx.Conn) error {
	var fault *string
	err := conn.QueryRow(ctx, t.SQL, t.OID).Scan(&fault)
	var found *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && fault == nil:
		return nil
	case err == nil:
		return fmt.Errorf("%w: %s is damaged: %s", ErrNotProven, t.Name, *fault)
	case errors.As(err, &found) && (found.Code == pgerrcode.IndexCorrupted || found.Code == pgerrcode.DataCorrupted):
		return fmt.Errorf("%w: %s is damaged: %s", ErrNotProven, t.Name, found.Message)
	}
	return fmt.Errorf("check %s: %w", t.Name, pg.Ended(ctx, err))
}
