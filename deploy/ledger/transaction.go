package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

// begin starts a transaction whose commit is on disk when it returns, whatever the database's default; which trusts no search
// path or default of the database; and which the server ends when its client stops in the middle (a paused process), as others wait for it.
const begin = `BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL search_path = pg_catalog; SET LOCAL datestyle = 'ISO'; SET LOCAL bytea_output = 'hex'; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '8s';
SET LOCAL idle_in_transaction_session_timeout = '5s';
SELECT pg_catalog.set_config('synchronous_commit', 'on', true) WHERE pg_catalog.current_setting('synchronous_commit') = 'off'`

// look starts a transaction that sees the ledger as it is now until it ends, and writes nothing.
const look = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL datestyle = 'ISO'; SET LOCAL bytea_output = 'hex';
SET LOCAL idle_in_transaction_session_timeout = '60s'`

// The pauses between attempts double, between these.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// write does something in a transaction, again and again until it is committed, fails for a reason that time doesn't heal, or
// the ledger's patience has ended. As the answer to a commit may get lost, do must find out whether it has been done.
func (l *Ledger) write(ctx context.Context, what string, do func(context.Context, pgx.Tx) error) error {
	return l.try(ctx, what, l.options.Patience, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{BeginQuery: begin}, func(tx pgx.Tx) error { return do(ctx, tx) })
	})
}

// read does something with one state of the ledger.
func (l *Ledger) read(ctx context.Context, what string, do func(context.Context, pgx.Tx) error) error {
	return l.try(ctx, what, l.options.Patience, func(ctx context.Context) error {
		return pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{BeginQuery: look}, func(tx pgx.Tx) error { return do(ctx, tx) })
	})
}

func (l *Ledger) try(ctx context.Context, what string, patience time.Duration, attempt func(context.Context) error) error {
	start := time.Now()
	for n, pause := 1, firstPause; ; n, pause = n+1, min(2*pause, longestPause) {
		err := l.once(ctx, attempt)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
		if !passing(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if spent := time.Since(start); spent+pause > patience {
			return fmt.Errorf("%s: %w: gave up after %d attempts in %s: %w", what, ErrUnreachable, n, spent.Round(time.Millisecond), err)
		}
		if err := pg.Pause(ctx, pause); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

func (l *Ledger) once(ctx context.Context, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return attempt(ctx)
}

// ErrUnreachable means that the ledger's database could not be used for as long as the ledger's patience lasts.
var ErrUnreachable = errors.New("the ledger's database cannot be reached")

// passing says whether an error may be gone at the next attempt: the network's, of a server that starts, stops, is full, is a
// standby for a moment, or ended the session; and locks not got in time. What is wrong with a statement or its values stays.
func passing(err error) bool {
	var refused refusal
	if errors.As(err, &refused) {
		return false
	}
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		var network net.Error
		var connecting *pgconn.ConnectError
		return errors.As(err, &network) || errors.As(err, &connecting) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
			errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err) // the attempt's deadline: the caller has looked at its own
	}
	switch server.Code {
	case pgerrcode.LockNotAvailable, pgerrcode.QueryCanceled, pgerrcode.ReadOnlySQLTransaction, pgerrcode.IdleInTransactionSessionTimeout:
		return true
	}
	return pgerrcode.IsConnectionException(server.Code) || pgerrcode.IsOperatorIntervention(server.Code) ||
		pgerrcode.IsTransactionRollback(server.Code) || pgerrcode.IsInsufficientResources(server.Code)
}

// refusal is an error that another attempt would meet again.
type refusal interface {
	error
	refused()
}

// refused makes an error one that is not tried again.
type refused struct{ error }

func (refused) refused() {}

func (r refused) Unwrap() error { return r.error }

// deny is a refusal with a text.
func deny(format string, args ...any) error { return refused{fmt.Errorf(format, args...)} }
