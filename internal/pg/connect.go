// Package pg opens sessions with PostgreSQL as the pipeline needs them: canceled politely, bounded in time, and without a
// password in any error. It makes the scratch databases in which backups are proven. It knows nothing of migrations.
package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

const (
	// ApplicationName is what others see in pg_stat_activity, and so in our own message to a second migrator.
	ApplicationName = "pipeline-migrations"
	// connectTimeout bounds each address that is tried, where the URL does not.
	connectTimeout = 10 * time.Second
	// cancelGrace is how long a server has to end a statement after it was asked to, before the connection is cut.
	cancelGrace = 10 * time.Second
	// goodbye bounds what is still said to the server when the context has ended: roll back, unlock, close.
	goodbye = 10 * time.Second
)

// Connect opens a session. No error of it shows the URL, which may hold a password: pgx hides passwords it recognises,
// but not those that made the URL unreadable.
//
// When the context ends, pgx would cut the connection and leave the server to find out; here the server is asked to end
// the statement first, so that a canceled run has rolled back and unlocked by the time it returns.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	return ConnectAs(ctx, url, "")
}

// ConnectAs opens a session under a name of its own.
func ConnectAs(ctx context.Context, url, name string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database's URL cannot be read (it is not shown, for it may hold a password): " +
			"write postgres://user:password@host:port/name, with special characters as %XX")
	}
	if name != "" {
		config.RuntimeParams["application_name"] = name
	} else if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = ApplicationName
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	// No prepared statements: a migration may drop them (DEALLOCATE ALL) or change what they mean.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	return conn, nil
}

// Farewell is a context for what must be said to the server even when the run's own has ended.
func Farewell(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), goodbye)
}

// HangUp closes a session.
func HangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := Farewell(ctx)
	defer cancel()
	_ = conn.Close(ctx) // the server notices by itself
}

// Mark in a statement says that the pipeline sends it, and not the application whose tables it is on: what records an
// application's statements leaves it out. PostgreSQL keeps comments within a statement, but not those before or after it.
const Mark = "/* pipeline */"

// Name is a name as SQL takes it, quoted.
func Name(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// Literal is a text as SQL takes it, quoted.
func Literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// Pause sleeps unless the context ends first.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Ended prefers the reason why a context ended over what that did to a statement.
func Ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
