package pg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Borrow does something in a transaction of its own that cannot write, begun as begin says (BEGIN READ ONLY), or, where the
// session is in one, at a savepoint in that. Whatever happens, it is rolled back: the session's settings are afterwards what
// they were, and so are its locks.
func Borrow(ctx context.Context, conn *pgx.Conn, begin, settings string, do func() error) (err error) {
	const savepoint = "pipeline_borrowed"
	end := "ROLLBACK"
	if conn.PgConn().TxStatus() != 'I' {
		begin, end = "SAVEPOINT "+savepoint, "ROLLBACK TO SAVEPOINT "+savepoint+"; RELEASE SAVEPOINT "+savepoint
	}
	defer func() { // also where what begins has failed half way
		ctx, cancel := Farewell(ctx)
		defer cancel()
		if _, failed := conn.Exec(ctx, end, pgx.QueryExecModeSimpleProtocol); failed != nil && err == nil {
			err = fmt.Errorf("roll back: %w", failed)
		}
	}()
	if _, err := conn.Exec(ctx, begin+"; "+settings, pgx.QueryExecModeSimpleProtocol); err != nil {
		return Ended(ctx, err)
	}
	return do()
}
