package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"

	"github.com/metaextract/pipeline/migrations/folder"
)

// Options say what is migrated, and how patiently.
type Options struct {
	URL    string // of the database: postgres://user:password@host:port/name
	FS     fs.FS  // the application
	Dir    string // of the migrations, within FS
	Format folder.Format

	LockTimeout      time.Duration // default DefaultLockTimeout
	StatementTimeout time.Duration // default DefaultStatementTimeout
	LockWait         time.Duration // default DefaultLockWait
	RetryBudget      time.Duration // default DefaultRetryBudget

	// Notice is told what a run is waiting for. It may be nil.
	Notice func(message string)
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
	if options.Notice == nil {
		options.Notice = func(string) {}
	}
	folder, err := folder.Open(options.FS, options.Dir, options.Format)
	if err != nil {
		return nil, err
	}
	return &Migrator{options: options, source: folder}, nil
}

// Migrations lists the folder in order of version.
func (m *Migrator) Migrations() []folder.Migration { return m.source.Migrations() }

// Up applies every migration the database does not have. An error leaves the ones before it applied, as the outcome
// says; the migration that failed is not, unless the error is ErrDirty. Errors to expect: *script.Error, ErrLocked, ErrDirty,
// ErrNewer, ErrForeign, and that of the context.
func (m *Migrator) Up(ctx context.Context) (Outcome, error) {
	return m.run(ctx, math.MaxInt64)
}

// UpTo applies the migrations up to and with a version of the folder. It never goes down.
func (m *Migrator) UpTo(ctx context.Context, version uint64) (Outcome, error) {
	if _, found := m.source.Find(version); !found {
		return Outcome{}, fmt.Errorf("%s: no migration has version %d", m.source.Name(), version)
	}
	return m.run(ctx, version)
}

// Version is the database's version, 0 where nothing was applied. ErrDirty comes with the version that is half applied.
func (m *Migrator) Version(ctx context.Context) (uint64, error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	version, dirty, err := d.Version()
	if err == nil && dirty {
		err = m.dirty(d, version)
	}
	return uint64(max(version, 0)), err
}

// Pending lists what Up would apply, with the errors Up would end with for the state of the database. It writes nothing.
func (m *Migrator) Pending(ctx context.Context) ([]folder.Migration, error) {
	d, err := open(ctx, m.options)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	version, err := m.position(d)
	if err != nil {
		return nil, err
	}
	return m.between(version, math.MaxInt64), nil
}

func (m *Migrator) run(ctx context.Context, target uint64) (outcome Outcome, err error) {
	start := time.Now()
	defer func() { outcome.Elapsed = time.Since(start) }()
	outcome.Applied = []Applied{}
	d, err := open(ctx, m.options)
	if err != nil {
		return outcome, err
	}
	defer d.Close()
	if err := d.Lock(); err != nil {
		return outcome, err
	}
	defer func() { err = errors.Join(err, d.Unlock()) }()
	version, err := m.position(d)
	if err != nil {
		return outcome, err
	}
	outcome.From, outcome.To = version, version
	if target != math.MaxInt64 && version > target {
		return outcome, fmt.Errorf("the database is at version %d, above %d, and going down is a decision of its own", version, target)
	}
	if err := d.table.create(ctx, d.conn); err != nil {
		return outcome, err
	}
	engine, err := migrate.NewWithInstance("folder", m.source, "postgres", locked{d})
	if err != nil {
		return outcome, fmt.Errorf("start golang-migrate: %w", err)
	}
	// Step by step: golang-migrate reads ahead in goroutines that stay for ever when a migration fails before theirs
	// (migrate.go, readUp sends on a channel nobody receives from), and has no context to look at in between.
	for _, next := range m.between(version, target) {
		if ctx.Err() != nil {
			return outcome, fmt.Errorf("before %s: %w", next.File, context.Cause(ctx))
		}
		d.migration = next
		if err := engine.Steps(1); err != nil {
			return outcome, err
		}
		outcome.Applied = append(outcome.Applied, d.applied)
		outcome.To = next.Version
	}
	return outcome, nil
}

// locked is the driver as the engine sees it: the lock is held around the whole run, the checks before it included,
// and the engine's own waiting for it could not be ended.
type locked struct{ *driver }

func (locked) Lock() error   { return nil }
func (locked) Unlock() error { return nil }

// between lists the migrations above a version, up to and with another.
func (m *Migrator) between(version, target uint64) []folder.Migration {
	list := []folder.Migration{}
	for _, next := range m.source.Migrations() {
		if next.Version > version && next.Version <= target {
			list = append(list, next)
		}
	}
	return list
}

// position is the database's version, once it is certain that the folder is the one to go on with.
func (m *Migrator) position(d *driver) (uint64, error) {
	current, dirty, err := d.Version()
	switch {
	case err != nil:
		return 0, err
	case dirty:
		return 0, m.dirty(d, current)
	case current == database.NilVersion:
		return 0, d.foreign()
	}
	version := uint64(current)
	if _, found := m.source.Find(version); found {
		return version, nil
	}
	last := m.source.Migrations()[len(m.source.Migrations())-1]
	if version > last.Version {
		return 0, fmt.Errorf("the database is at version %d, but %s ends at %d (%s): %w; a newer release has migrated it: deploy one that has its migrations",
			version, m.source.Name(), last.Version, last.Name, ErrNewer)
	}
	return 0, fmt.Errorf("the database is at version %d, which %s does not have between its others: %w; restore the file that was removed or renumbered",
		version, m.source.Name(), ErrNewer)
}

func (m *Migrator) dirty(d *driver, version int) error {
	file, previous := "not in "+m.source.Name(), database.NilVersion
	if i, found := m.source.Find(uint64(max(version, 0))); found {
		file = m.source.Migrations()[i].File
		if i > 0 {
			previous = int(m.source.Migrations()[i-1].Version)
		}
	}
	return fmt.Errorf("version %d (%s): %w: an earlier run stopped between its statements; finish or undo it by hand, then tell: %s",
		version, file, ErrDirty, d.table.repair(version, previous))
}

// Source is the folder the migrator applies.
func (m *Migrator) Source() *folder.Source { return m.source }
