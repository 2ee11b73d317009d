package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
)

// refusePooler is ErrPooled where the session goes through a pooler that gives each transaction another server session
// (PgBouncer's transaction and statement modes, and others of the kind). The advisory lock would be taken on one session
// and the migration run on another, and timeouts set for the session would be somebody else's.
//
// A pooler makes up the process id of its greeting, so where that is the server's own there is none. Otherwise a second
// session tells the modes apart: while it is in a transaction, the first one still has its server session where sessions
// are pooled, and in transaction mode one of the two gets what the other had.
func refusePooler(ctx context.Context, conn *pgx.Conn, url string) error {
	mine, err := backend(ctx, conn)
	if err != nil {
		return err
	}
	if mine == conn.PgConn().PID() {
		return nil
	}
	second, err := pg.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, second)
	tx, err := second.Begin(ctx)
	if err != nil { // in statement mode there are no transactions
		return fmt.Errorf("%w: %w", ErrPooled, pg.Ended(ctx, err))
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was done
	other, err := backend(ctx, second)
	if err != nil {
		return err
	}
	now, err := backend(ctx, conn)
	if err != nil {
		return err
	}
	if other == mine || now != mine {
		return fmt.Errorf("%w: the migration lock and its timeouts belong to a session, and the pooler gives each transaction another one; "+
			"name the server itself, or a pool in session mode, for migrations", ErrPooled)
	}
	return nil
}

// backend is the process id of the server session behind a connection.
func backend(ctx context.Context, conn *pgx.Conn) (uint32, error) {
	var pid int32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return 0, fmt.Errorf("look at the session: %w", pg.Ended(ctx, err))
	}
	return uint32(pid), nil
}
