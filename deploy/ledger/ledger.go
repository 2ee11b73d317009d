// Package ledger remembers what the pipeline did, in PostgreSQL: releases, deployments and each of their transitions, who
// holds an environment's lock and who waits for it, approvals, measurements, verdicts, and an audit log in which no record
// can be changed unnoticed. The stages of deploy write it; status, history and the dashboard read it.
//
// All times that decide something are the database's; a client's clock may step without effect. It never stores a secret,
// and never runs anything.
//
// A database that fails over to an asynchronous replica, or is restored, may forget what it had confirmed: lock tokens could
// be given twice, records be gone. Ledger.Verify finds that when it is given a checkpoint that was seen before.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// DefaultPatience is how long an operation is tried again while the database cannot be reached.
	DefaultPatience = 30 * time.Second
	// DefaultTTL is how long a lock is held without a sign of life. It is longer than DefaultPatience, so that who can still
	// write still holds it.
	DefaultTTL = time.Minute
	// DefaultPoll is how often a waiting deployment asks for the lock.
	DefaultPoll = 500 * time.Millisecond

	// sessions that one process needs at once: a write, a heartbeat, a reader, an export.
	sessions = 4
	// connectTimeout bounds an attempt to reach a database that doesn't answer.
	connectTimeout = 5 * time.Second
	// attemptTimeout bounds one attempt at an operation, so that a connection that went silent leaves time for another.
	attemptTimeout = 10 * time.Second
	// cancelGrace is how long a server has to end a statement after it was asked to, before the connection is cut.
	cancelGrace = time.Second
)

// Options say how a ledger is used. Zero values are the defaults.
type Options struct {
	Patience time.Duration
	TTL      time.Duration
	Poll     time.Duration
	// Mirror puts every transition into the outbox of a GitHub mirror as well.
	Mirror bool
}

// Ledger is open on one database. It is safe for concurrent use.
type Ledger struct {
	pool    *pgxpool.Pool
	options Options
	id      string
}

// Open opens the ledger in the database of the URL, and makes or updates its schema, for which the database is waited for
// like for any operation. No error shows the URL.
//
// Errors: *PrivilegeError says what to grant, *NewerSchemaError that a newer pipeline has been here, ErrForeignSchema that
// the schema pipeline is somebody else's.
func Open(ctx context.Context, url string, options Options) (*Ledger, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("open ledger: its database's URL cannot be read (it is not shown, for it may hold a password): " +
			"write postgres://user:password@host:port/name, with special characters as %XX")
	}
	config.MaxConns = sessions
	config.PingTimeout = connectTimeout
	session := config.ConnConfig
	session.RuntimeParams["application_name"] = "pipeline-ledger"
	session.RuntimeParams["client_encoding"] = "UTF8"
	session.ConnectTimeout = connectTimeout
	session.DefaultQueryExecMode = pgx.QueryExecModeExec // a pooler in transaction mode keeps no prepared statements
	session.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
	}
	if options.Patience == 0 {
		options.Patience = DefaultPatience
	}
	if options.TTL == 0 {
		options.TTL = DefaultTTL
	}
	if options.Poll == 0 {
		options.Poll = DefaultPoll
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{pool: pool, options: options}
	if err := l.prepare(ctx); err != nil {
		l.Close()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

// ID is the ledger's name, made at random when its schema was; checkpoints are signed for it.
func (l *Ledger) ID() string { return l.id }

// Close ends all sessions. Leases that are still held run out.
func (l *Ledger) Close() { l.pool.Close() }

// clean is a text as PostgreSQL takes it: what a process has logged may hold anything.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
