package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

func newApplied(t task, sha256 string, statements int) Applied {
	return Applied{
		Version: t.Version, Name: t.Name, Direction: t.direction, SHA256: sha256, Statements: statements,
		Evidence: evidence.Evidence{Locks: []evidence.Lock{}, Rewrites: []string{}},
	}
}

// begin writes into the history that the task begins, or goes on.
func (d *driver) begin(s *script.Script) error {
	if d.task.resume != nil {
		d.entry = *d.task.resume
		d.done.Resumed = d.entry.Done
		if _, err := d.resumes(s); err != nil {
			return err
		}
		return d.resume()
	}
	o := d.options
	d.entry = history.Entry{
		Run: o.Run, Version: d.task.Version, Name: d.task.Name, Direction: d.task.direction, Status: history.Running, SHA256: d.done.SHA256,
		Irreversible: s.Declared.Irreversible, Statements: len(s.Statements),
		BackupID: o.BackupID, RehearsalID: o.RehearsalID, Release: o.Release, Actor: o.Actor, Tool: o.Tool,
	}
	if d.task.direction == history.Up {
		d.entry.DownSQL, d.entry.DownSHA256 = d.task.way, d.task.waySHA256
	}
	if s.Outside {
		d.entry.Intent = prefix(s, 0).encode() // whatever is found dirty with it is ours
	}
	var err error
	d.entry.ID, err = d.tables.Begin(d.ctx, d.conn, d.entry)
	return err
}

// resume says in the history that an interrupted entry is at work again.
func (d *driver) resume() error {
	d.options.Notice(fmt.Sprintf("%s: an earlier run stopped after %d of %d statements; going on from there", d.task.file(), d.entry.Done, d.done.Statements))
	d.entry.Status, d.entry.Statements, d.entry.SHA256, d.entry.Error, d.entry.SQLState = history.Running, d.done.Statements, d.done.SHA256, "", ""
	return d.tables.Finish(d.ctx, d.conn, d.entry)
}

// record writes how the task ended, in whatever transaction is open.
func (d *driver) record(conn *pgx.Conn, status history.Status) error {
	e := &d.entry
	e.Status, e.Statements = status, d.done.Statements
	if status == history.Applied {
		e.Done = d.done.Statements
	}
	e.Attempts, e.DurationMS = d.done.Attempts, d.done.Duration.Milliseconds()
	e.WALBytes, e.Locks, e.Rewrites, e.Blockers = d.done.WALBytes, d.done.Locks, d.done.Rewrites, d.done.Blockers
	if err := d.tables.Finish(d.ctx, conn, *e); err != nil {
		return err
	}
	if status == history.Applied && d.task.floor != "" {
		return d.tables.RaiseFloor(d.ctx, conn, d.options.oldest(), d.task.floor)
	}
	return nil
}

// failed writes an error into the history, and returns it. Where the connection was lost, the next run finds an entry that
// says running and writes what became of it.
func (d *driver) failed(err error) error {
	if d.conn.IsClosed() {
		if applied, asked := d.reconnect(); asked != nil || applied {
			return err
		}
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		d.entry.SQLState = server.Code
	}
	d.entry.Error = err.Error()
	ctx, cancel := pg.Farewell(d.ctx)
	defer cancel()
	said := *d
	said.ctx = ctx
	if written := said.record(said.conn, history.Failed); written != nil {
		d.options.Notice("the history does not say how " + d.task.file() + " failed: " + written.Error())
	}
	return err
}

// patience bounds how long a lost connection's transaction is waited for, and how long a database may take to answer again.
const patience = 10 * time.Second

// reconnectPoll is how often a lost connection's session is looked for.
const reconnectPoll = 10 * time.Millisecond

// reconnect replaces a connection that was lost, takes the lock again, and tells whether the transaction that was open had
// been committed: its entry in the history says so, and nothing else does. The old session may still be at work, so its
// end is waited for first.
func (d *driver) reconnect() (applied bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), patience)
	defer cancel()
	old := d.conn.PgConn().PID()
	fresh := *d
	fresh.ctx = ctx
	for {
		if err = fresh.connect(); err == nil {
			break
		}
		if pg.Pause(ctx, reconnectPoll) != nil {
			return false, err
		}
	}
	for gone := false; !gone; {
		if err := fresh.conn.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", old).Scan(&gone); err != nil {
			return false, err
		}
		if !gone && pg.Pause(ctx, reconnectPoll) != nil {
			return false, errors.New("the old session is still at work")
		}
	}
	if err := fresh.lock.take(ctx, patience, d.options.Notice); err != nil {
		pg.HangUp(ctx, fresh.conn)
		return false, err
	}
	entries, err := fresh.tables.Read(ctx, fresh.conn)
	if err != nil {
		return false, err
	}
	d.conn, d.lock, d.tables, d.checks = fresh.conn, fresh.lock, fresh.tables, fresh.checks
	for _, e := range entries {
		if e.ID == d.entry.ID {
			d.entry.Done, d.entry.Intent = e.Done, e.Intent // what was written last may not have been answered
			return e.Status == history.Applied, nil
		}
	}
	return false, nil
}
