// Package migrations applies the migrations of a folder to a PostgreSQL database, and takes them back. golang-migrate is the
// engine; the database.Driver is our own, on one connection: a lock that is asked for and not waited for in the server, a
// transaction that holds a file's statements, the version and the history together, timeouts on everything, and another try
// where a try leaves nothing. It says of every migration how it stands, and what a run would do.
//
// It makes no backup and no rehearsal (migrations/backup, migrations/rehearsal), and starts no process. deploy/database puts
// them in order; the rehearsal runs the same migrator on a copy.
package migrations

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// Options say what is migrated, how patiently, and what the history is told of it.
type Options struct {
	URL    string // of the database: postgres://user:password@host:port/name
	FS     fs.FS  // the application
	Folder folder.Options

	LockTimeout      time.Duration // default DefaultLockTimeout
	StatementTimeout time.Duration // default DefaultStatementTimeout
	LockWait         time.Duration // default DefaultLockWait
	RetryBudget      time.Duration // default DefaultRetryBudget

	// What the history is told; any of it may be empty. Run names the run and is made up where it is empty.
	Run, Release, Actor, Tool, BackupID, RehearsalID string
	// Running is the release that runs while the database is migrated.
	Running string
	// Contract says, by version, what a migration takes from older releases. Applying one raises the schema's floor to
	// Running, which has been shown to do without; to Release where Running is not known.
	Contract map[int64]string

	// Ways are ways back, by version, for migrations that have none: a rehearsal has made them up and tried them.
	Ways map[int64]string

	// Notice is told what a run is waiting for. It may be nil.
	Notice func(message string)
	// Backfill is told how far a backfill is. It may be nil.
	Backfill func(backfill.Progress)
}

// oldest is the oldest release that is known to work after a contract migration.
func (o Options) oldest() string {
	if o.Running != "" {
		return o.Running
	}
	return o.Release
}

// Migrator applies a folder of migrations to a database. Each method opens a session of its own and closes it; all are
// safe for concurrent use, by any number of migrators.
type Migrator struct {
	options Options
	source  *folder.Source
}

// New reads and checks the folder. It does not connect.
func New(options Options) (*Migrator, error) {
	if options.URL == "" {
		return nil, errors.New("migrate: no database URL given")
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"LockTimeout", &options.LockTimeout, DefaultLockTimeout},
		{"StatementTimeout", &options.StatementTimeout, DefaultStatementTimeout},
		{"LockWait", &options.LockWait, DefaultLockWait},
		{"RetryBudget", &options.RetryBudget, DefaultRetryBudget},
	} {
		if *d.value < 0 || *d.value > 0 && *d.value < time.Millisecond {
			return nil, fmt.Errorf("migrate: %s is %s, but there is always a timeout, of at least 1ms", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if len(options.Contract) > 0 && options.oldest() == "" {
		return nil, errors.New("migrate: a contract migration raises the schema's floor to a release, and no release is named")
	}
	if options.Notice == nil {
		options.Notice = func(string) {}
	}
	if options.Run == "" {
		options.Run = strings.ToLower(rand.Text())
	}
	source, err := folder.Open(options.FS, options.Folder)
	if err != nil {
		return nil, err
	}
	return &Migrator{options: options, source: source}, nil
}

// Source is the folder the migrator applies.
func (m *Migrator) Source() *folder.Source { return m.source }

// Migrations lists the folder in order of version.
func (m *Migrator) Migrations() []folder.Migration { return m.source.Migrations() }

// Version is the database's version, history.NoVersion where nothing was applied. ErrDirty comes with the version that is
// half applied.
func (m *Migrator) Version(ctx context.Context) (int64, error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return history.NoVersion, err
	}
	defer d.Close()
	version, dirty, err := d.tables.ReadVersion(ctx, d.conn)
	if err == nil && dirty {
		err = fmt.Errorf("version %d: %w", version, ErrDirty)
	}
	return version, err
}

// Pending lists what Up would apply, with the errors Up would end with for the state of the database. It writes nothing.
func (m *Migrator) Pending(ctx context.Context) ([]folder.Migration, error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	status, err := m.status(d)
	if err == nil {
		err = status.Refusal()
	}
	if err != nil {
		return nil, err
	}
	return status.Pending(), nil
}

// History is what the database remembers of its migrations, oldest first.
func (m *Migrator) History(ctx context.Context) ([]history.Entry, error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.tables.Read(ctx, d.conn)
}

// Allows says whether an application of a release works on the schema: nil, or an error that is history.ErrBelowFloor.
func (m *Migrator) Allows(ctx context.Context, release string) error {
	d, err := open(ctx, m.options)
	if err != nil {
		return err
	}
	defer d.Close()
	known, err := d.tables.Releases(ctx, d.conn)
	if err != nil {
		return err
	}
	return history.Allows(known, release)
}
