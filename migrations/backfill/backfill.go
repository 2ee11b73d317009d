// Package backfill changes a table's rows in batches while the application goes on working: a data migration that can be
// paused, killed and resumed, and that makes nobody wait for long. It runs the one statement of a migration's file and
// never changes its text, the schema, or anything but its own table deploy_backfills. The migrator calls it for files that
// declare `-- deploy: backfill`.
//
// # What is guaranteed
//
// A batch is one transaction with its place in the table, so a run that ends anywhere, also between a commit and its reply,
// loses nothing and does nothing twice: the next run goes on behind the last batch that was committed.
//
// The statement sees every row that was committed before it ran for the row's key. Rows that are inserted meanwhile with
// keys above the position are reached later, and the pass through the table ends when there are none above it.
//
// Rows that are inserted below the position are behind it. Whether they can be reached is measured: in the transaction of
// every batch that changed something the statement is run a second time, which is rolled back. Where the second time never
// changes a row of the first again (because the statement says AND column IS NULL, or deletes), the table is gone through
// again until a pass changes nothing, three times at most. Then every row that was committed before the last pass began is
// done. Where it does (SET n = n + 1), there is one pass, every row that was there is changed exactly once, and what is
// inserted behind the position is the business of the code that inserts it: Progress.Once says so.
//
// The key of a row must not change meanwhile, neither by the statement nor by the application.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/script"
)

// Defaults of Options.
const (
	// DefaultMaxBlocked is how long a batch may make another session wait: as long as GitLab lets a query of its
	// application, or of a migration, take (docs.gitlab.com/development/database/query_performance).
	DefaultMaxBlocked = 100 * time.Millisecond
	// DefaultMaxLag is how far replicas may fall behind: who reads from one sees what was true so long ago.
	DefaultMaxLag = 10 * time.Second
	// DefaultLockTimeout is how long a batch waits for a lock.
	DefaultLockTimeout = time.Second
	// DefaultStatementTimeout ends a batch that hangs.
	DefaultStatementTimeout = time.Minute
	// DefaultRetryBudget is how long one batch is tried again.
	DefaultRetryBudget = 2 * time.Minute
)

// ErrPaused means that somebody has paused the backfill. What is done stays done; after Resume, the next Run goes on.
var ErrPaused = errors.New("the backfill is paused")

// ErrEdited means that the file was changed when a part of the table had been done already.
var ErrEdited = errors.New("a backfill was edited half way")

// Options say what is run and how considerately.
type Options struct {
	Schema  string // where the pipeline's own tables are, history.Tables.Schema
	Version int64
	Name    string
	Script  *script.Script // with Declared.Backfill
	URL     string         // for a second session, which watches whom a batch keeps waiting

	LockTimeout      time.Duration // default DefaultLockTimeout
	StatementTimeout time.Duration // default DefaultStatementTimeout, of a batch
	MaxBlocked       time.Duration // default DefaultMaxBlocked
	MaxLag           time.Duration // default DefaultMaxLag
	RetryBudget      time.Duration // default DefaultRetryBudget, of a batch

	// Observe is told how far it is, after every batch and while it waits. It may be nil.
	Observe func(Progress)

	clock clock
}

// clock is what tests replace.
type clock struct {
	now    func() time.Time
	pause  func(context.Context, time.Duration) error
	random func() float64 // at least 0, below 1
	lag    func(context.Context, *pgx.Conn) (replica string, behind time.Duration, err error)
}

// complete checks the options and fills in what is not given.
func (o *Options) complete() error {
	s := o.Script
	if s == nil || s.Declared.Backfill == nil || len(s.Statements) != 1 {
		return fmt.Errorf("backfill %s: the file declares none", o.Name)
	}
	if o.URL == "" {
		return fmt.Errorf("backfill %s: no database URL given", o.Name)
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"LockTimeout", &o.LockTimeout, DefaultLockTimeout},
		{"StatementTimeout", &o.StatementTimeout, DefaultStatementTimeout},
		{"MaxBlocked", &o.MaxBlocked, DefaultMaxBlocked},
		{"MaxLag", &o.MaxLag, DefaultMaxLag},
		{"RetryBudget", &o.RetryBudget, DefaultRetryBudget},
	} {
		if *d.value < 0 || *d.value > 0 && *d.value < time.Millisecond {
			return fmt.Errorf("backfill %s: %s is %s, but there is always a limit, of at least 1ms", o.Name, d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.Observe == nil {
		o.Observe = func(Progress) {}
	}
	c := &o.clock
	if c.now == nil {
		c.now = time.Now
	}
	if c.pause == nil {
		c.pause = pg.Pause
	}
	if c.random == nil {
		c.random = rand.Float64
	}
	if c.lag == nil {
		c.lag = replayLag
	}
	return nil
}

// Run does what is left of a backfill on a session that holds the migration lock, and returns how far it came, also with an
// error. The session is left without an open transaction. Errors to expect: ErrPaused, ErrEdited, *script.Error, that of
// the context, and what is wrong with the table or its key, with the place in the file.
func Run(ctx context.Context, conn *pgx.Conn, o Options) (Progress, error) {
	if err := o.complete(); err != nil {
		return Progress{Version: o.Version, Name: o.Name}, err
	}
	r := &run{Options: o, conn: conn, table: table{o.Schema}, declared: o.Script.Declared.Backfill}
	r.progress = Progress{Version: o.Version, Name: o.Name}
	err := r.table.create(ctx, conn)
	if err == nil {
		err = r.table.enter(ctx, conn, r.Version)
	}
	if err != nil {
		return r.progress, err
	}
	err = r.begin(ctx)
	for over := false; err == nil && !over; {
		over, err = r.turn(ctx)
	}
	r.end(ctx, err)
	r.Observe(r.progress)
	return r.progress, err
}
