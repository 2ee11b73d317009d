package backup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/history"
)

// RestoreOptions say which backup is put back, and where. Fields of the same name are as in Options and VerifyOptions.
type RestoreOptions struct {
	File     string
	Identity string
	Dumper   Dumper
	// URL is of the database that the backup takes the place of; there may be none of its name. The role makes databases
	// (CREATEDB), and owns the one that is replaced.
	URL string
	// Into is the name of a new database on the same server, where nothing is to be replaced.
	Into string
	// Maintenance is the database of the server from which others are made and renamed; default postgres.
	Maintenance string
	// Confirmed says that somebody has seen what is lost and wants it.
	Confirmed bool
	// Terminate ends the sessions that others have on the database that is replaced. Without it they are in the way.
	Terminate bool
	Temp      string
	Jobs      int
	Now       func() time.Time // default time.Now
}

// Restored is what a restore did, or would do.
type Restored struct {
	Database string `json:"database"`           // that the backup is in now
	Replaced string `json:"replaced,omitempty"` // what the one that was there before is called now
	Loss     *Loss  `json:"loss,omitempty"`     // nil where nothing is replaced
	Backup   Backup `json:"backup"`             // with the proof that was made of the restored database
	Done     bool   `json:"done"`
}

// The errors to tell apart.
var (
	// ErrUnconfirmed: what would be lost is known now, and somebody must want it.
	ErrUnconfirmed = errors.New("restoring the backup is not confirmed")
	// ErrConnected: others have sessions on the database that would be replaced.
	ErrConnected = errors.New("the database is in use")
	// ErrMigrating: a migration is at work on the database that would be replaced.
	ErrMigrating = errors.New("a migration is at work on the database")
)

// Restore puts a backup back. It says first what would be lost, which ErrUnconfirmed comes with; with Confirmed it restores
// into a database beside the old one, proves that as a backup is proven, and only then exchanges the names, in one
// transaction. So whatever ends it, under the name is either the old database or the restored one, whole; and the old one
// stays under another name until somebody drops it. The lock of migrations is held meanwhile, up to the exchange.
//
// Errors to expect: ErrUnconfirmed, ErrConnected, ErrMigrating, ErrNotProven, ErrIdentity, ErrTool.
func Restore(ctx context.Context, o RestoreOptions) (r Restored, err error) {
	job := &restore{options: o}
	if err := job.check(); err != nil {
		return r, err
	}
	if job.kept, err = reopen(o.File, o.Identity, o.Temp); err != nil {
		return r, fmt.Errorf("restore backup: %w", err)
	}
	defer job.kept.close()
	defer func() { r = job.out }()
	job.out.Backup = job.kept.manifest.Backup
	defer job.hangUp(ctx)
	if err := job.look(ctx); err != nil {
		return r, err
	}
	if job.out.Loss != nil && !o.Confirmed {
		return r, fmt.Errorf("%w: %s", ErrUnconfirmed, job.out.Loss)
	}
	err = job.restore(ctx)
	return r, err
}

// restore is one restore.
type restore struct {
	options RestoreOptions
	kept    *kept
	out     Restored
	name    string // that the backup is to have
	old     string // URL of the database that is replaced; "" where there is none
	base    string // URL of the maintenance database

	server *pgx.Conn // on it
	lock   *pgx.Conn // on the old database, and has the lock of migrations
	key    int64
}

func (r *restore) check() error {
	o := &r.options
	if o.Dumper == nil || o.URL == "" || o.File == "" {
		return errors.New("restore backup: no file, no database URL or no dumper given")
	}
	if o.Maintenance == "" {
		o.Maintenance = "postgres"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Jobs = workers(o.Jobs)
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return errors.New("restore backup: the database's URL cannot be read") // pgx quotes the URL
	}
	if r.name = config.Database; o.Into != "" {
		r.name = o.Into
	}
	if r.name == "" || r.name == o.Maintenance {
		return fmt.Errorf("restore backup: a database cannot be replaced from within itself: give another one than %q, or another Maintenance", r.name)
	}
	r.base, err = pg.OnDatabase(o.URL, o.Maintenance)
	return err
}

func (r *restore) hangUp(ctx context.Context) {
	for _, conn := range []*pgx.Conn{r.server, r.lock} {
		if conn != nil {
			pg.HangUp(ctx, conn)
		}
	}
}

// look finds out what is there, keeps migrations out, and measures what would be lost. It changes nothing.
func (r *restore) look(ctx context.Context) (err error) {
	r.out.Database = r.name
	if r.server, err = pg.Connect(ctx, r.base); err != nil {
		return err
	}
	var there bool
	var slots []string
	err = r.server.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1),
		ARRAY(SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE database = $1)`, r.name).Scan(&there, &slots)
	switch {
	case err != nil:
		return fmt.Errorf("look for database %s: %w", r.name, pg.Ended(ctx, err))
	case !there:
		return nil
	case r.options.Into != "":
		return fmt.Errorf("restore backup: there is a database %s already: choose another name, or replace it", r.name)
	}
	if r.old, err = pg.OnDatabase(r.options.URL, r.name); err != nil {
		return err
	}
	if r.lock, err = pg.Connect(ctx, r.old); err != nil {
		return err
	}
	var notes []string
	if r.key, err = migrationKey(ctx, r.lock); err == nil {
		err = r.keepOut(ctx)
	} else if ctx.Err() == nil && !r.lock.IsClosed() {
		notes, err = append(notes, "migrations cannot be kept out: "+err.Error()), nil
	}
	if err != nil {
		return err
	}
	if !r.options.Terminate {
		if err := r.alone(ctx, r.lock.PgConn().PID()); err != nil {
			return err
		}
	}
	loss, err := measure(ctx, r.old, &r.out.Backup, r.options.Jobs)
	if err != nil {
		return err
	}
	if len(slots) > 0 {
		notes = append(notes, "logical replication slots stay with the database that is replaced: "+strings.Join(slots, ", "))
	}
	loss.Notes = append(loss.Notes, notes...)
	r.out.Loss = &loss
	return nil
}

// migrationKey is the key of the lock that migrators of a database take, golang-migrate's own among them.
func migrationKey(ctx context.Context, conn *pgx.Conn) (int64, error) {
	tables, err := history.Find(ctx, conn)
	if err != nil {
		return 0, err
	}
	id, err := database.GenerateAdvisoryLockId(tables.Database, tables.Schema, tables.Version)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(id, 10, 64)
}

// keepOut takes the lock of migrations, which goes with the session.
func (r *restore) keepOut(ctx context.Context) error {
	var taken bool
	if err := r.lock.QueryRow(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1)", r.key).Scan(&taken); err != nil {
		return fmt.Errorf("take the migration lock: %w", pg.Ended(ctx, err))
	}
	if !taken {
		return fmt.Errorf("restore backup: %w %s: wait for it to end", ErrMigrating, r.name)
	}
	return nil
}

// alone is ErrConnected where others have sessions on the old database.
func (r *restore) alone(ctx context.Context, but ...uint32) error {
	found, err := sessions(ctx, r.server, r.name, but...)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("restore backup: %w: database %s has %s of others: %s; stop what uses it, or have them terminated",
			ErrConnected, r.name, finding.Count(len(found), "session"), strings.Join(found, ", "))
	}
	return nil
}

// restore makes the database beside the old one, and exchanges them.
func (r *restore) restore(ctx context.Context) (err error) {
	b, origin := &r.out.Backup, r.kept.details.Origin
	l := r.kept.ladder(b, r.options.Dumper, r.options.Jobs)
	l.stage = &stage{roles: true}
	defer l.leave(ctx, false, &err) // once it has another name, nothing is dropped
	with := origin.Properties
	if r.old != "" {
		if with, err = readProperties(ctx, r.server, r.name); err != nil {
			return err
		}
	}
	if _, err := l.fits(ctx, r.base, b.Tool, "the backup"); err != nil {
		return err
	}
	if err := l.read(ctx); err != nil {
		return err
	}
	if err := l.stage.database(ctx, r.base, origin); err != nil {
		return fmt.Errorf("make a database beside the old one: %w", err)
	}
	if err := l.prove(ctx, with); err != nil {
		return err
	}
	b.Proven = true
	if err := analyze(ctx, l.stage.URL); err != nil {
		return err
	}
	if err := r.exchange(ctx, l.stage.name); err != nil {
		return err
	}
	r.out.Done = true
	return nil
}

// analyze gathers the statistics that a restored database is without, and without which its first plans would be bad.
func analyze(ctx context.Context, url string) error {
	conn, err := begin(ctx, url)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, "ANALYZE"); err != nil {
		return fmt.Errorf("gather statistics: %w", pg.Ended(ctx, err))
	}
	return nil
}

// exchange gives the restored database its name, and the old one another, in one transaction.
//
// PostgreSQL renames a database that nobody is connected to. It locks it first, so that new sessions wait, and then gives
// those that are there five seconds to leave (CountOtherDBBackends in procarray.c): only then are they terminated, so that
// none comes back in between, and the database need not be closed to all, which a killed run would leave behind.
func (r *restore) exchange(ctx context.Context, restored string) (err error) {
	if r.old == "" {
		if _, err := r.server.Exec(ctx, "ALTER DATABASE "+pg.Name(restored)+" RENAME TO "+pg.Name(r.name)); err != nil {
			return fmt.Errorf("name the restored database: %w", pg.Ended(ctx, err))
		}
		return nil
	}
	replaced := setAside(r.name, r.options.Now())
	pg.HangUp(ctx, r.lock)
	r.lock = nil
	if r.options.Terminate {
		stop, err := r.terminate(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	err = pgx.BeginFunc(ctx, r.server, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '30s'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "ALTER DATABASE "+pg.Name(r.name)+" RENAME TO "+pg.Name(replaced)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "ALTER DATABASE "+pg.Name(restored)+" RENAME TO "+pg.Name(r.name))
		return err
	})
	if err == nil {
		r.out.Replaced = replaced
		return nil
	}
	if ctx.Err() == nil {
		if alone := r.alone(ctx); alone != nil {
			return alone
		}
	}
	return fmt.Errorf("exchange the databases: %w", pg.Ended(ctx, err))
}

// nameLimit is the length of the longest name in bytes (NAMEDATALEN - 1).
const nameLimit = 63

// setAside is the name that a database has once another one has its own.
func setAside(name string, now time.Time) string {
	suffix := "_before_restore_" + now.UTC().Format("20060102T150405Z")
	if room := nameLimit - len(suffix); len(name) > room {
		name = strings.ToValidUTF8(name[:room], "")
	}
	return name + suffix
}

// terminateInterval is the time between two looks at who is connected.
const terminateInterval = 50 * time.Millisecond

// terminate ends the sessions of others on the old database until it is stopped. A migration is let alone: then the
// exchange fails.
func (r *restore) terminate(ctx context.Context) (stop func(), err error) {
	conn, err := pg.Connect(ctx, r.base)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pg.Pause(ctx, terminateInterval) == nil {
			_, _ = conn.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
				WHERE a.datname = $1 AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory'
					AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32) | l.objid::bigint = $2)`, r.name, r.key)
		}
	}()
	return func() {
		cancel()
		<-ended
		pg.HangUp(context.WithoutCancel(ctx), conn)
	}, nil
}
