package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

// runOutside applies a file statement by statement. The version is written first, as dirty, for such a file can stop half
// done. What is done is in the history: a statement that may run in a transaction is committed together with its place in
// the file, and for the others the history says what is about to be made, so that a run that was killed can be told from
// one that came to the end of the statement. Where nothing was done before it stopped, the version is put back, so the
// usual file, a lone CREATE INDEX CONCURRENTLY, is as safe to run again as any other.
func (d *driver) runOutside(s *script.Script) error {
	start := time.Now()
	announcedVersion := d.state == announced
	if announcedVersion && d.task.resume == nil {
		if err := d.write(d.pending, true); err != nil {
			return err
		}
	}
	before, err := d.simple(evidence.Query)
	if err != nil {
		return d.halfway(s, announcedVersion, d.failedAt("look before", s.File, err))
	}
	for i := d.entry.Done; i < len(s.Statements); i++ {
		if err := d.alone(s, i); err != nil {
			return d.halfway(s, announcedVersion, err)
		}
	}
	after, err := d.simple(d.restored() + evidence.Query)
	if err == nil {
		d.done.Evidence, err = evidence.Compare(before, after)
	}
	if err != nil {
		return d.halfway(s, announcedVersion, d.failedAt("look after", s.File, err))
	}
	if err := d.verifyOutside(); err != nil {
		return d.halfway(s, announcedVersion, err)
	}
	d.done.Duration = time.Since(start)
	if err := d.conclude(s, announcedVersion); err != nil {
		return d.halfway(s, announcedVersion, err)
	}
	return nil
}

// conclude writes version and history together.
func (d *driver) conclude(s *script.Script, announcedVersion bool) error {
	_, err := d.simple("BEGIN READ WRITE")
	if err == nil {
		err = d.record(d.conn, history.Applied)
	}
	if err != nil {
		d.rollBack()
		return d.failedAt("record", s.File, err)
	}
	version := ""
	if announcedVersion {
		version = d.tables.SetVersion(int64(d.pending), false)
	}
	if _, err := d.simple(version + "COMMIT"); err != nil {
		return d.commitFailed(s, err)
	}
	return nil
}

// alone runs one statement, again while other sessions are in the way, and writes that it is done.
func (d *driver) alone(s *script.Script, i int) error {
	st := s.Statements[i]
	if s.Declared.Backfill != nil {
		return d.batches(s)
	}
	plan, err := d.planAlone(s, i)
	settled := false
	if err == nil {
		settled, err = plan.settle(d)
	}
	if err != nil {
		if d.conn.IsClosed() {
			return d.failedAt("look before", place(s, i), err)
		}
		return d.blame(s, err)
	}
	err = d.retry.do(d.ctx, s.File, func(n int, _ time.Duration) error {
		d.done.Attempts = max(d.done.Attempts, n)
		if settled {
			return nil
		}
		if script.OutsideTransaction(st) {
			return d.bare(s, i, plan)
		}
		return d.together(s, i)
	})
	if err != nil {
		return d.blame(s, err)
	}
	if script.OutsideTransaction(st) {
		if err := d.tables.Progress(d.ctx, d.conn, d.entry.ID, i+1, prefix(s, i+1).encode()); err != nil {
			return d.failedAt("record", place(s, i), err)
		}
	}
	d.entry.Done = i + 1
	return nil
}

// together runs a statement and writes its place in one transaction.
func (d *driver) together(s *script.Script, i int) error {
	st := s.Statements[i]
	if _, err := d.simple("BEGIN;" + d.limits("SET LOCAL", d.options.LockTimeout)); err != nil {
		return d.failedAt("begin", place(s, i), err)
	}
	if _, err := d.send(s.Text[st.Start:st.End]); err != nil {
		d.rollBack()
		return d.explain(s, i, err)
	}
	err := d.tables.Progress(d.ctx, d.conn, d.entry.ID, i+1, prefix(s, i+1).encode())
	if err == nil {
		_, err = d.simple("COMMIT")
	}
	if err != nil {
		d.rollBack()
		return d.explain(s, i, err)
	}
	return nil
}

// explain is an error of one statement.
func (d *driver) explain(s *script.Script, i int, err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return s.Explain(server, s.Statements[i].Start, i)
	}
	return d.failedAt("run", place(s, i), err)
}

// place is where a statement is, for people.
func place(s *script.Script, i int) string {
	file, line := s.Place(i)
	return fmt.Sprintf("%s:%d", file, line)
}

// failedAt describes an error of a file whose statements stay done.
func (d *driver) failedAt(verb, place string, err error) error {
	if d.conn.IsClosed() {
		return fmt.Errorf("%s: the connection was lost: %w", place, err)
	}
	return fmt.Errorf("%s %s: %w", verb, place, err)
}

// bare runs a statement that PostgreSQL refuses in a transaction. What its failure leaves is removed.
func (d *driver) bare(s *script.Script, i int, plan intent) error {
	st := s.Statements[i]
	lockTimeout := d.options.LockTimeout
	if script.Concurrent(st) {
		// It waits for the transactions that are open, and nobody waits for it.
		lockTimeout = d.options.StatementTimeout
	}
	if _, err := d.simple(d.limits("SET", lockTimeout)); err != nil {
		return d.failedAt("prepare", place(s, i), err)
	}
	if err := d.tables.Progress(d.ctx, d.conn, d.entry.ID, i, plan.encode()); err != nil {
		return d.failedAt("prepare", place(s, i), err)
	}
	_, err := d.send(s.Text[st.Start:st.End])
	if err == nil {
		return plan.confirm(d)
	}
	err = d.explain(s, i, err)
	if !d.conn.IsClosed() {
		ctx, cancel := pg.Farewell(d.ctx)
		defer cancel()
		clean := *d
		clean.ctx = ctx
		if _, cleaning := plan.settle(&clean); cleaning != nil {
			err = errors.Join(err, cleaning)
		}
	}
	return err
}

// halfway says what is done and what is not. With nothing done it puts the version back.
func (d *driver) halfway(s *script.Script, announcedVersion bool, err error) error {
	if !announcedVersion {
		return err
	}
	if d.entry.Done == 0 && !d.conn.IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), patience)
		defer cancel()
		back := int64(d.before())
		if _, restored := d.conn.PgConn().Exec(ctx, "BEGIN READ WRITE;"+d.tables.SetVersion(back, false)+"COMMIT").ReadAll(); restored == nil {
			return err
		}
	}
	next := "Correct the file from there on and run again: it goes on with the next statement"
	if d.conn.IsClosed() {
		next = "Run again: it finds out how far the next one came, and goes on"
	}
	return fmt.Errorf("%w\n  %d of its %d statements are done and stay done, for the file cannot run in a transaction: %w.\n  %s",
		err, d.entry.Done, len(s.Statements), ErrDirty, next)
}
