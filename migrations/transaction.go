package migrations

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/script"
)

// How the server guards against a client that stops or is killed. Both are safe for a client that lives: it never
// thinks inside a transaction.
const (
	idleTimeout = time.Minute
	clientCheck = "1s"
)

// limits are the settings of the session, for what the driver does itself, too. A file may set others for itself: it
// knows what it does.
func (d *driver) limits(lockTimeout time.Duration) string {
	sql := fmt.Sprintf("SET lock_timeout = %d; SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d;",
		lockTimeout.Milliseconds(), d.options.StatementTimeout.Milliseconds(), idleTimeout.Milliseconds())
	if d.checks {
		sql += "SET client_connection_check_interval = '" + clientCheck + "';"
	}
	return sql
}

// restored undoes what a file set for the session (search_path, a role): golang-migrate lets it leak into the next file.
func (d *driver) restored() string {
	return "RESET SESSION AUTHORIZATION; RESET ALL;" + d.limits(d.options.LockTimeout)
}

// runTransaction applies a file and its version in one transaction, again and again while other sessions are in the way.
func (d *driver) runTransaction(s *script.Script) error {
	err := d.retry.do(d.ctx, s.File, func(n int) error {
		start := time.Now()
		if err := d.attempt(s); err != nil {
			return err
		}
		d.applied.Attempts, d.applied.Duration = n, time.Since(start)
		return nil
	})
	return d.blame(s, err)
}

// blame adds to an error what a person needs next.
func (d *driver) blame(s *script.Script, err error) error {
	switch {
	case err == nil:
		return nil
	case d.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", s.File, pg.Ended(d.ctx, err))
	case passing(err):
		if who := bystanders(d.ctx, d.conn); who != "" {
			return fmt.Errorf("%w\n  oldest open transactions: %s", err, who)
		}
	}
	return err
}

// attempt is one transaction. The body goes to the server in one piece, so that PostgreSQL and not our splitter decides
// where statements end, and its positions are positions in the file.
func (d *driver) attempt(s *script.Script) error {
	before, err := d.simple("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;" + evidence.Query)
	if err != nil {
		d.rollBack()
		return d.failed(s, "begin", err)
	}
	if err := d.body(s); err != nil {
		d.rollBack()
		return err
	}
	after, err := d.simple("RESET SESSION AUTHORIZATION; RESET ROLE;" + evidence.Query + evidence.LocksQuery)
	if err == nil {
		d.applied.Evidence, err = evidence.Compare(before, after)
	}
	if err != nil {
		d.rollBack()
		return d.failed(s, "look after", err)
	}
	version := ""
	if d.state == announced {
		version = d.table.set(d.pending, false)
	}
	if _, err := d.simple(version + "COMMIT;" + d.restored()); err != nil {
		d.rollBack()
		return d.failed(s, "commit", err)
	}
	return nil
}

// body sends the file. The results that came before an error tell which statement it was, when the error itself has no
// position.
func (d *driver) body(s *script.Script) error {
	completed, err := d.send(s.Text)
	if err == nil {
		if d.conn.PgConn().TxStatus() != 'T' {
			return fmt.Errorf("%s: the file has ended the transaction it runs in: remove what commits", s.File)
		}
		return nil
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return s.Explain(server, 0, min(completed, len(s.Statements)-1))
	}
	return d.failed(s, "run", err)
}

// send runs statements and counts those that completed. Rows are read and forgotten.
func (d *driver) send(sql string) (completed int, err error) {
	results := d.conn.PgConn().Exec(d.ctx, sql)
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err == nil {
			completed++
		}
	}
	return completed, results.Close()
}

// failed describes an error outside the file's statements.
func (d *driver) failed(s *script.Script, verb string, err error) error {
	var server *pgconn.PgError
	switch {
	case d.conn.IsClosed() && verb == "commit":
		return fmt.Errorf("%s: the connection was lost while committing, so whether it is applied is not known here; run again: the version in %s tells: %w",
			s.File, versionTableName, err)
	case d.conn.IsClosed():
		return fmt.Errorf("%s: the connection was lost; nothing of the file is applied: %w", s.File, err)
	case errors.As(err, &server) && verb == "commit":
		return s.Explain(server, 0, len(s.Statements))
	}
	return fmt.Errorf("%s %s: %w", verb, s.File, err)
}
