package migrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/script"
)

// Up applies every migration the database does not have. An error leaves the ones before it applied, as the outcome
// says; the migration that failed is not, unless the error is ErrDirty, and then the next run goes on with it. Errors to
// expect: *script.Error, ErrLocked, ErrDirty, ErrNewer, ErrEdited, ErrMissing, ErrOutOfOrder, ErrForeign, ErrPooled,
// ErrVerify, and that of the context.
func (m *Migrator) Up(ctx context.Context) (Outcome, error) { return m.up(ctx, math.MaxInt64) }

// UpTo applies the migrations up to and with a version of the folder. It never goes down.
func (m *Migrator) UpTo(ctx context.Context, version int64) (Outcome, error) {
	if _, found := m.source.Find(version); !found {
		return Outcome{}, fmt.Errorf("%s: no migration has version %d", m.source.Name(), version)
	}
	return m.up(ctx, version)
}

func (m *Migrator) up(ctx context.Context, target int64) (Outcome, error) {
	return m.run(ctx, func(s *Status) (plan, error) {
		if err := s.Refusal(); err != nil {
			return plan{}, err
		}
		if target != math.MaxInt64 && s.Version > target {
			return plan{}, fmt.Errorf("the database is at version %d, above %d, and going down is a decision of its own", s.Version, target)
		}
		p := plan{source: m.source, step: 1}
		previous := history.NoVersion
		for _, item := range s.Items {
			if item.State == StateApplied {
				previous = item.Version
				continue
			}
			if item.Version > target {
				break
			}
			t := task{Migration: *item.migration, direction: history.Up, previous: previous, floor: m.options.Contract[item.Version]}
			if item.State == StateInterrupted {
				t.resume = item.Entry
			}
			p.tasks = append(p.tasks, t)
			previous = item.Version
		}
		return p, nil
	})
}

// plan is what a run does, in order.
type plan struct {
	source source.Driver
	step   int // of the engine: 1 up, -1 down
	tasks  []task
}

// run takes the lock, looks, and does what choose says.
func (m *Migrator) run(ctx context.Context, choose func(*Status) (plan, error)) (outcome Outcome, err error) {
	start := time.Now()
	defer func() { outcome.Elapsed = time.Since(start) }()
	outcome = Outcome{Run: m.options.Run, From: history.NoVersion, To: history.NoVersion, Applied: []Applied{}}
	d, err := open(ctx, m.options)
	if err != nil {
		return outcome, err
	}
	defer d.Close()
	if err := d.Lock(); err != nil {
		return outcome, err
	}
	defer func() { err = errors.Join(err, d.Unlock()) }()
	status, err := m.status(d)
	if err != nil {
		return outcome, err
	}
	outcome.From, outcome.To = status.Version, status.Version
	todo, err := choose(status)
	if err != nil {
		return outcome, err
	}
	if err := d.writable(); err != nil {
		return outcome, err
	}
	if err := d.keepRecord(status, m.source); err != nil {
		return outcome, err
	}
	engine, err := migrate.NewWithInstance("folder", todo.source, "postgres", locked{d})
	if err != nil {
		return outcome, fmt.Errorf("start golang-migrate: %w", err)
	}
	// Step by step: golang-migrate reads ahead in goroutines that stay for ever when a migration fails before theirs
	// (migrate.go, readUp sends on a channel nobody receives from), and has no context to look at in between.
	for _, next := range todo.tasks {
		if ctx.Err() != nil {
			return outcome, fmt.Errorf("before %s: %w", next.file(), context.Cause(ctx))
		}
		if d.task, err = m.ready(next); err != nil {
			return outcome, err
		}
		if err := engine.Steps(todo.step); err != nil {
			return outcome, err
		}
		outcome.Applied = append(outcome.Applied, d.done)
		outcome.To = int64(d.pending)
	}
	if len(todo.tasks) > 0 {
		if err := d.keepSchema(); err != nil {
			return outcome, fmt.Errorf("the migrations are applied, but what the schema looks like now is not kept, so a later change by hand will not be noticed: %w", err)
		}
	}
	return outcome, nil
}

// keepSchema records what the schema looks like now, so that a change made by hand is seen later.
func (d *driver) keepSchema() error {
	snapshot, err := catalog.Read(d.ctx, d.conn)
	if err != nil {
		return fmt.Errorf("look at the schema: %w", pg.Ended(d.ctx, err))
	}
	text, err := json.Marshal(snapshot)
	if err != nil {
		return fmt.Errorf("record the schema: %w", err)
	}
	return d.tables.SaveSchema(d.ctx, d.conn, text, snapshot.SHA256())
}

// locked is the driver as the engine sees it: the lock is held around the whole run, the checks before it included,
// and the engine's own waiting for it could not be ended.
type locked struct{ *driver }

func (locked) Lock() error   { return nil }
func (locked) Unlock() error { return nil }

// keepRecord makes the tables where they are missing, and makes the history tell what happened without us.
func (d *driver) keepRecord(s *Status, source *folder.Source) error {
	if err := d.tables.Create(d.ctx, d.conn); err != nil {
		return err
	}
	if _, err := d.simple("BEGIN READ WRITE"); err != nil {
		return fmt.Errorf("write history: %w", pg.Ended(d.ctx, err))
	}
	err := d.tables.Interrupt(d.ctx, d.conn)
	if err == nil {
		err = d.reconcile(s)
	}
	if err == nil && d.options.Running != "" {
		err = d.tables.Saw(d.ctx, d.conn, d.options.Running, s.Version)
	}
	if err == nil && d.options.Release != "" {
		all := source.Migrations()
		err = d.tables.Saw(d.ctx, d.conn, d.options.Release, all[len(all)-1].Version)
	}
	if err == nil {
		if _, err = d.simple("COMMIT"); err != nil {
			err = fmt.Errorf("write history: %w", pg.Ended(d.ctx, err))
		}
	}
	if err != nil {
		d.rollBack()
	}
	return err
}

// reconcile writes entries for what golang-migrate's command line has applied, or taken back, since the last run of ours.
func (d *driver) reconcile(s *Status) error {
	base := history.Entry{Run: d.options.Run, Actor: d.options.Actor, Tool: d.options.Tool}
	now := time.Now()
	base.FinishedAt = &now
	for _, item := range s.Items {
		if item.State != StateApplied || item.Entry != nil {
			continue
		}
		e := base
		e.Version, e.Name, e.SHA256, e.Statements = item.Version, item.Name, item.migration.SHA256, item.migration.Statements
		e.Direction, e.Status, e.Done = history.Up, history.Adopted, e.Statements
		e.Evidence = fmt.Sprintf("%s was at version %d", s.Table, s.Version)
		if _, err := d.tables.Begin(d.ctx, d.conn, e); err != nil {
			return err
		}
	}
	if s.Dirty {
		return nil
	}
	for version, was := range history.InForce(s.entries) {
		if version <= s.Version {
			continue
		}
		e := base
		e.Version, e.Name, e.SHA256 = version, was.Name, was.DownSHA256
		e.Direction, e.Status, e.Evidence = history.Down, history.Applied, fmt.Sprintf("%s went back to version %d", s.Table, s.Version)
		if _, err := d.tables.Begin(d.ctx, d.conn, e); err != nil {
			return err
		}
	}
	return nil
}

// ready reads what a task needs beside its own file: the way back, for the history, and its checks.
func (m *Migrator) ready(t task) (task, error) {
	if t.direction != history.Up {
		return t, nil
	}
	up, err := m.source.Script(t.Migration, folder.Up)
	if err != nil {
		return t, err
	}
	var beside *script.Script
	if t.Verify != "" {
		if beside, err = m.source.Script(t.Migration, folder.Verify); err != nil {
			return t, err
		}
	}
	t.verify = checksOf(up, beside)
	if t.Down == "" {
		if sql := m.options.Ways[t.Version]; sql != "" && t.Declared.Irreversible == "" {
			t.way, t.waySHA256 = sql, folder.Hash([]byte(sql))
		}
		return t, nil
	}
	down, err := read(m.source.ReadDown, t.Version)
	t.way, t.waySHA256 = string(down), folder.Hash(down)
	return t, err
}

func read(open func(uint) (io.ReadCloser, string, error), version int64) ([]byte, error) {
	r, _, err := open(uint(version))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
