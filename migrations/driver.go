package migrations

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

// driver is golang-migrate's database.Driver over one connection. What it does differently from the driver that comes
// with golang-migrate, and why (each is a test here; the numbers are issues of golang-migrate):
//
//   - A file, its version and its history are committed together, so a failure leaves the version as it was, and not dirty
//     (#196, #518).
//   - The lock is polled, so CREATE INDEX CONCURRENTLY does not deadlock with a waiting migrator (#960), and nothing
//     goes on waiting for it after the call has returned.
//   - Everything that waits has a timeout and ends with the context, which golang-migrate's interface lacks: the driver
//     carries the context of its one run.
//   - Files with statements that cannot run in a transaction run statement by statement, and go on where they stopped.
//   - A version is not lowered without a file that says how.
type driver struct {
	ctx     context.Context
	options Options
	conn    *pgx.Conn
	lock    *lock
	tables  history.Tables
	retry   retry
	checks  bool // the server notices when the client is gone

	task  task          // about to run
	entry history.Entry // its line in the history
	done  Applied       // what the last Run did

	pending int // the version that SetVersion announced
	state   step
}

// task is one way of one migration.
type task struct {
	folder.Migration
	direction history.Direction
	previous  int64  // the version below
	way       string // back: what is run on the way down, and kept in the history on the way up
	waySHA256 string
	verify    []check        // of its own, before the commit
	resume    *history.Entry // of the run that was interrupted in it
	floor     string         // why no release before the running one works after it; "" where it does
}

// file is the task's file, for people.
func (t task) file() string {
	switch {
	case t.direction == history.Down && t.Down != "":
		return t.Down
	case t.direction == history.Down:
		return "the way back of " + t.Name + ", as the history has it"
	}
	return cmp.Or(t.File, "migration")
}

// step is where the driver is between SetVersion(dirty) and SetVersion(clean).
type step int

const (
	idle      step = iota
	announced      // SetVersion(dirty) has been called: nothing is written yet
	committed      // Run has committed the version with the file
)

var _ database.Driver = (*driver)(nil)

// open connects, and does nothing to the database.
func open(ctx context.Context, options Options) (*driver, error) {
	d := &driver{ctx: ctx, options: options, retry: newRetry(options.RetryBudget, options.Notice)}
	if err := d.connect(); err != nil {
		return nil, err
	}
	return d, nil
}

// connect opens the session, also anew after one was lost.
func (d *driver) connect() error {
	conn, err := pg.Connect(d.ctx, d.options.URL)
	if err != nil {
		return err
	}
	d.conn = conn
	if err := d.prepare(); err != nil {
		pg.HangUp(d.ctx, conn)
		return err
	}
	return nil
}

func (d *driver) prepare() error {
	if err := refusePooler(d.ctx, d.conn, d.options.URL); err != nil {
		return err
	}
	var err error
	if d.tables, err = history.Find(d.ctx, d.conn); err != nil {
		return d.unusable(err)
	}
	if err := d.readable(); err != nil {
		return err
	}
	if d.lock, err = newLock(d.conn, d.tables.Database, d.tables.Schema, d.tables.Version); err != nil {
		return err
	}
	// PostgreSQL 14 and later, where the system can: a migrator that is killed must not leave a long ALTER TABLE at work.
	_, err = d.conn.Exec(d.ctx, "SET client_connection_check_interval = '"+clientCheck+"'")
	d.checks = err == nil
	if _, err := d.simple(d.session()); err != nil {
		return fmt.Errorf("limit the session: %w", pg.Ended(d.ctx, err))
	}
	return nil
}

// Open is not for use: golang-migrate opens drivers by URL, which would need a context.
func (d *driver) Open(string) (database.Driver, error) {
	return nil, errors.New("this driver is opened by migrations.New")
}

// Close ends the session, and with it the lock.
func (d *driver) Close() error {
	pg.HangUp(d.ctx, d.conn)
	return nil
}

// Lock waits for other migrators.
func (d *driver) Lock() error { return d.lock.take(d.ctx, d.options.LockWait, d.options.Notice) }

// Unlock lets other migrators in.
func (d *driver) Unlock() error { return d.lock.release(d.ctx) }

// Version is the row of schema_migrations. A migration that is about to be resumed has written its own there already; the
// engine is told the one before, from which it comes to this migration again. Between two migrations the server may have been
// restarted, or have failed over: with the connection nothing is lost there but the lock, so it is taken again.
func (d *driver) Version() (int, bool, error) {
	version, dirty, err := d.tables.ReadVersion(d.ctx, d.conn)
	if err != nil && d.conn.IsClosed() && d.task.resume == nil {
		version, dirty, err = d.versionAgain(err)
	}
	if dirty && d.task.resume != nil {
		return d.before(), false, err
	}
	return int(version), dirty, err
}

// versionAgain reads the version on a new connection. Others may have migrated before the lock was taken again.
func (d *driver) versionAgain(lost error) (version int64, dirty bool, err error) {
	before := fmt.Sprintf("the connection was lost before %s", d.task.file())
	d.options.Notice(before + "; connecting again")
	if _, err := d.reconnect(); err != nil {
		return 0, false, fmt.Errorf("%s, of which nothing is applied: %w", before, errors.Join(lost, err))
	}
	version, dirty, err = d.tables.ReadVersion(d.ctx, d.conn)
	if err == nil && (dirty || int(version) != d.before()) {
		err = fmt.Errorf("%s, and another migrator has been at work meanwhile: run again", before)
	}
	return version, dirty, err
}

// before is the version that the engine starts the task from.
func (d *driver) before() int {
	if d.task.direction == history.Down {
		return int(d.task.Version)
	}
	return int(d.task.previous)
}

// SetVersion remembers a version announced with dirty: Run writes it when it commits. Upstream writes it first, so that
// any failure leaves the database dirty though PostgreSQL has rolled everything back. Without a Run in between there was
// no file: golang-migrate takes a missing way back for an empty one, lowers the version and leaves the tables.
func (d *driver) SetVersion(version int, dirty bool) error {
	was := d.state
	switch {
	case dirty:
		d.pending, d.state = version, announced
		return nil
	case was == committed && version == d.pending:
		d.state = idle
		return nil
	case was == announced && version == d.pending:
		d.state = idle
		return fmt.Errorf("no file says how to get to version %d: write a down file, or restore the backup", version)
	}
	return d.write(version, false)
}

// write changes the version by itself.
func (d *driver) write(version int, dirty bool) error {
	_, err := d.simple("BEGIN READ WRITE;" + d.tables.SetVersion(int64(version), dirty) + "COMMIT")
	if err != nil {
		d.rollBack()
		return fmt.Errorf("write version %d: %w", version, pg.Ended(d.ctx, err))
	}
	return nil
}

// Run applies a file.
func (d *driver) Run(migration io.Reader) error {
	body, err := io.ReadAll(migration)
	if err != nil {
		return fmt.Errorf("read migration: %w", err)
	}
	s, err := script.Parse(d.task.file(), string(body))
	if err != nil {
		return err
	}
	d.done = newApplied(d.task, folder.Hash(body), len(s.Statements))
	if err := d.begin(s); err != nil {
		if d.conn.IsClosed() {
			return d.failedTo("begin", s, err)
		}
		return err
	}
	if s.Outside || d.task.resume != nil {
		err = d.runOutside(s)
	} else {
		err = d.runTransaction(s)
	}
	if err != nil {
		d.state = idle
		return d.failed(err)
	}
	if d.state == announced {
		d.state = committed
	}
	return nil
}

// Drop always fails: nobody who releases software wants a command that empties its database.
func (d *driver) Drop() error {
	return errors.New("a database is never dropped by the pipeline")
}

// simple sends SQL by the simple protocol, which takes several statements in one round trip.
func (d *driver) simple(sql string) ([]*pgconn.Result, error) {
	results, err := d.conn.PgConn().Exec(d.ctx, sql).ReadAll()
	return results, err
}

// rollBack ends a failed transaction, even when the run was canceled.
func (d *driver) rollBack() {
	if d.conn.IsClosed() || d.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := pg.Farewell(d.ctx)
	defer cancel()
	if _, err := d.conn.Exec(ctx, "ROLLBACK"); err != nil {
		pg.HangUp(d.ctx, d.conn) // ends the transaction, too
	}
}
