package migrations

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

// idleTimeout ends a session whose client has disappeared without a word while a transaction was open.
const idleTimeout = time.Minute

// clientCheck is how often the server looks whether the client of a running statement is still there.
const clientCheck = "1s"

// session are the settings of the session, for what the driver does itself, too.
func (d *driver) session() string { return d.limits("SET", d.options.LockTimeout) }

// limits are timeouts, of the session (SET) or of a transaction (SET LOCAL). A file may set others for itself, though none
// without end: it knows what it does.
func (d *driver) limits(set string, lockTimeout time.Duration) string {
	sql := fmt.Sprintf("%[1]s lock_timeout = %[2]d; %[1]s statement_timeout = %[3]d; %[1]s idle_in_transaction_session_timeout = %[4]d;",
		set, lockTimeout.Milliseconds(), d.options.StatementTimeout.Milliseconds(), idleTimeout.Milliseconds())
	if d.checks && set == "SET" {
		sql += "SET client_connection_check_interval = '" + clientCheck + "';"
	}
	return sql
}

// restored undoes what a file set for the session (search_path, a role): golang-migrate lets it leak into the next file.
func (d *driver) restored() string {
	return "RESET SESSION AUTHORIZATION; RESET ALL;" + d.session()
}

// runTransaction applies a file and its version in one transaction, again and again while other sessions are in the way.
func (d *driver) runTransaction(s *script.Script) error {
	w := watch{driver: d}
	defer w.close()
	err := d.retry.do(d.ctx, s.File, func(n int, left time.Duration) error {
		if err := w.before(s, n, left); err != nil {
			return err
		}
		start := time.Now()
		d.done.Attempts = n
		err := w.during(func() error { return d.attempt(s, start) })
		d.done.Blockers = w.seen()
		return err
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
		if who := bystanders(d.ctx, d.conn); len(who) > 0 {
			return fmt.Errorf("%w\n  oldest open transactions: %s", err, joined(who))
		}
	}
	return err
}

// attempt is one transaction. The body goes to the server in one piece, so that PostgreSQL and not our splitter decides
// where statements end, and its positions are positions in the file.
func (d *driver) attempt(s *script.Script, start time.Time) error {
	before, err := d.simple("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;" + d.limits("SET LOCAL", d.options.LockTimeout) +
		evidence.Query + d.lock.heldQuery())
	if err == nil {
		err = d.lock.assert(before)
	}
	if err != nil {
		d.rollBack()
		return d.failedTo("begin", s, err)
	}
	if err := d.body(s); err != nil {
		d.rollBack()
		return err
	}
	after, err := d.simple("RESET SESSION AUTHORIZATION; RESET ROLE;" + evidence.Query + evidence.LocksQuery)
	if err == nil {
		d.done.Evidence, err = evidence.Compare(before, after)
	}
	if err != nil {
		d.rollBack()
		return d.failedTo("look after", s, err)
	}
	if err := d.verify(); err != nil {
		d.rollBack()
		return err
	}
	d.done.Duration = time.Since(start)
	if err := d.record(d.conn, history.Applied); err != nil {
		d.rollBack()
		return d.failedTo("record", s, err)
	}
	version := ""
	if d.state == announced {
		version = d.tables.SetVersion(int64(d.pending), false)
	}
	if _, err := d.simple(version + "COMMIT;" + d.restored()); err != nil {
		return d.commitFailed(s, err)
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
	return d.failedTo("run", s, err)
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

// failedTo describes an error outside the file's statements.
func (d *driver) failedTo(verb string, s *script.Script, err error) error {
	if d.conn.IsClosed() {
		return fmt.Errorf("%s: the connection was lost; nothing of the file is applied: %w", s.File, err)
	}
	return fmt.Errorf("%s %s: %w", verb, s.File, err)
}

// commitFailed finds out what became of a commit. An error of the server means that nothing was committed. With the
// connection lost nobody knows but the database: it is asked on a new one.
func (d *driver) commitFailed(s *script.Script, err error) error {
	var server *pgconn.PgError
	if !d.conn.IsClosed() {
		d.rollBack()
		if errors.As(err, &server) {
			return s.Explain(server, 0, len(s.Statements))
		}
		return d.failedTo("commit", s, err)
	}
	applied, asked := d.reconnect()
	switch {
	case asked != nil:
		return fmt.Errorf("%s: the connection was lost while committing, and the database does not answer: whether the file is applied is not known here; run again: the history tells: %w",
			s.File, errors.Join(err, asked))
	case applied:
		d.options.Notice(s.File + ": the connection was lost after the commit; the migration is applied")
		return nil
	case s.Outside:
		return fmt.Errorf("%s: the connection was lost before the history said that it is applied: %w", s.File, err)
	}
	return fmt.Errorf("%s: the connection was lost before the commit; nothing of the file is applied: %w", s.File, err)
}
