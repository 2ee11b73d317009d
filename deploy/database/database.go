// Package database is the database stage of a release, composed: a backup that is proven by restoring it, the rehearsal of
// the pending migrations on the copy that proved it, the migration, and the ways back. The deployment, the command line and
// the Dagger module call it. It runs nothing itself: the machine it runs on gives it tools and scratch servers.
package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rehearsal"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Stage is the stage for one release and one database.
type Stage struct {
	Files  fs.FS // the release
	Config *config.Database
	URL    string // of the database
	// Made says that the database was made for the occasion, so what is measured on it says little about a real one.
	Made bool

	Dumper  backup.Dumper
	Cluster backup.Cluster
	Scratch string // stands in for Cluster: see backup.Options
	// Physical makes a backup beside the dump, where there is one.
	Physical backup.Adapter
	// Dir keeps the backups; "" keeps none.
	Dir string

	// What the history is told: see migrations.Options.
	Release, Running, Actor, Tool string
	// Statements are what the running release sends. Without any, the database's own record of statements is asked.
	Statements []corpus.Statement

	Notice   func(string)            // is told what is being done and waited for; may be nil
	Backfill func(backfill.Progress) // may be nil
}

// ErrRefused means that the rehearsal says that the migrations must not run.
var ErrRefused = errors.New("the rehearsal refuses the migrations")

func (s *Stage) notice(format string, args ...any) {
	if s.Notice != nil {
		s.Notice(fmt.Sprintf(format, args...))
	}
}

// options are the migrator's.
func (s *Stage) options() migrations.Options {
	return migrations.Options{
		URL: s.URL, FS: s.Files, Folder: folder.FromConfig(s.Config), Release: s.Release, Running: s.Running, Actor: s.Actor, Tool: s.Tool,
		Notice: s.Notice, Backfill: s.Backfill,
	}
}

// Migrator is the migrator of the release's folder.
func (s *Stage) Migrator() (*migrations.Migrator, error) { return migrations.New(s.options()) }

// Backup makes a backup, proves it and, where backups are kept, removes those that are kept no longer. keep leaves the copy
// that proved it.
func (s *Stage) Backup(ctx context.Context, keep bool) (backup.Backup, error) {
	m, err := s.Migrator()
	if err != nil {
		return backup.Backup{}, err
	}
	version, err := m.Version(ctx)
	if err != nil && !errors.Is(err, migrations.ErrDirty) {
		return backup.Backup{}, err
	}
	if s.Physical != nil {
		s.notice("making a physical backup with %s", s.Physical.Name())
		reference, err := s.Physical.BackUp(ctx, backup.PointName(version))
		if err != nil {
			return backup.Backup{}, fmt.Errorf("physical backup: %w", err)
		}
		if err := s.Physical.Check(ctx, reference); err != nil {
			return backup.Backup{}, fmt.Errorf("physical backup %s: %w", reference, err)
		}
	}
	if keep {
		go statement.Warm() // what comes next parses; it takes a second, which the backup covers
	}
	s.notice("backing up, and restoring the backup to prove it")
	b, err := backup.Make(ctx, backup.Options{
		URL: s.URL, Dumper: s.Dumper, Dir: s.Dir, Recipients: s.Config.Backup.Recipients, Cluster: s.Cluster, Scratch: s.Scratch, Keep: keep,
		Label: s.Release, SchemaVersion: version, Release: s.Running, RestorePoint: backup.PointName(version),
	})
	if err != nil || s.Dir == "" {
		return b, err
	}
	removed, err := backup.Prune(s.Dir, backup.Policy{Keep: s.Config.Backup.Keep, MaxAge: s.Config.Backup.MaxAge, Now: time.Now()})
	for _, old := range removed {
		s.notice("removed backup %s, which is kept no longer", old.ID)
	}
	if err != nil && b.Copy != nil {
		err = errors.Join(err, b.Copy.Close(context.WithoutCancel(ctx)))
		b.Copy = nil
	}
	return b, err
}

// Rehearse backs the database up and rehearses the pending migrations on the copy that proved the backup. The report's
// backup says what of it is kept. Errors to expect: those of migrations.Migrator.Up before anything is done,
// backup.ErrNotProven, and *script.Error with a report of what was seen until then.
func (s *Stage) Rehearse(ctx context.Context) (*rehearsal.Report, error) {
	m, err := s.Migrator()
	if err != nil {
		return nil, err
	}
	if _, err := m.Pending(ctx); err != nil {
		return nil, err
	}
	b, err := s.Backup(ctx, true)
	if err != nil {
		return nil, err
	}
	defer b.Copy.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the platform ends what is left
	return s.RehearseOn(ctx, b)
}

// RehearseOn rehearses the pending migrations on the copy that proved a backup. The copy is of no use afterwards.
func (s *Stage) RehearseOn(ctx context.Context, b backup.Backup) (*rehearsal.Report, error) {
	onCopy := s.options()
	onCopy.URL = b.Copy.URL
	m, err := migrations.New(onCopy)
	if err != nil {
		return nil, err
	}
	o := rehearsal.Options{
		URL: b.Copy.URL, Migrate: s.options(), Source: m.Source(), Real: !s.Made, Scratch: true, Statements: s.Statements,
		Step: func(what string) { s.notice("%s", what) },
	}
	o.Migrate.URL = ""
	limits := s.Config.Budget
	o.Budget = rehearsal.Budget{
		BlockedReads: limits.BlockedReads, BlockedWrites: limits.BlockedWrites, Duration: limits.Duration,
		WAL: config.Bytes(limits.WAL), Disk: config.Bytes(limits.Disk),
	}
	if err := s.original(ctx, &o); err != nil {
		return nil, err
	}
	if o.Pending, err = m.Pending(ctx); err != nil {
		return nil, err
	}
	report, err := rehearsal.Run(ctx, o)
	if report != nil {
		b.Copy = nil
		report.Backup = &b
	}
	return report, err
}

// original reads what the rehearsal is told of the original: how large its tables are, which settings decide its plans, and
// which statements are sent to it.
func (s *Stage) original(ctx context.Context, o *rehearsal.Options) error {
	conn, err := pg.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	if o.Original, err = rehearsal.Sizes(ctx, conn); err != nil {
		return err
	}
	if o.Settings, err = plans.Settings(ctx, conn); err != nil {
		return err
	}
	if len(o.Statements) > 0 {
		return nil
	}
	o.Statements, o.Forgotten, err = s.recorded(ctx, conn, o.Source)
	return err
}

// Migrated is what a migration of the database has done.
type Migrated struct {
	Backup    *backup.Backup     `json:"backup,omitempty"`    // also where it is not proven; nil where there was nothing to do
	Rehearsal *rehearsal.Report  `json:"rehearsal,omitempty"` // nil where it was not rehearsed
	Outcome   migrations.Outcome `json:"outcome"`
}

// Up applies the pending migrations, after a backup that is proven and, unless it is not wanted, a rehearsal on the copy that
// proved it. With nothing pending it does nothing. The error is ErrRefused where the rehearsal says no; the report says why.
// What was done until an error is in Migrated.
func (s *Stage) Up(ctx context.Context, rehearsed bool) (done Migrated, err error) {
	m, err := s.Migrator()
	if err != nil {
		return done, err
	}
	pending, err := m.Pending(ctx)
	if err != nil {
		return done, err
	}
	if len(pending) == 0 {
		done.Outcome, err = m.Up(ctx) // says what the version is, under the lock
		return done, err
	}
	b, err := s.Backup(ctx, rehearsed)
	if b.ID != "" {
		done.Backup = &b
	}
	if err != nil {
		return done, err
	}
	if rehearsed {
		done.Rehearsal, err = s.RehearseOn(ctx, b)
		err = errors.Join(err, b.Copy.Close(context.WithoutCancel(ctx)))
		if err != nil {
			return done, err
		}
		if done.Rehearsal.Verdict != rehearsal.Proven {
			return done, fmt.Errorf("%w: %s", ErrRefused, done.Rehearsal.Reasons[0])
		}
	}
	done.Outcome, err = s.Apply(ctx, b.ID, done.Rehearsal)
	return done, err
}

// Apply applies the pending migrations, with what a backup and a rehearsal have told for the history: the rehearsal may be
// nil. It asks for neither; Up does.
func (s *Stage) Apply(ctx context.Context, backupID string, r *rehearsal.Report) (migrations.Outcome, error) {
	o := s.options()
	o.BackupID = backupID
	if r != nil {
		o.RehearsalID = backupID
		o.Ways = r.Ways()
		if o.Running != "" || o.Release != "" {
			o.Contract = r.Contract
		}
	}
	m, err := migrations.New(o)
	if err != nil {
		return migrations.Outcome{}, err
	}
	return m.Up(ctx)
}

// Down takes migrations back until the database is at a version, after a backup that is proven.
func (s *Stage) Down(ctx context.Context, target int64) (done Migrated, err error) {
	m, err := s.Migrator()
	if err != nil {
		return done, err
	}
	plan, err := m.DownPlan(ctx, target)
	if err != nil || len(plan) == 0 {
		return done, err
	}
	b, err := s.Backup(ctx, false)
	if b.ID != "" {
		done.Backup = &b
	}
	if err != nil {
		return done, err
	}
	o := s.options()
	o.BackupID = b.ID
	if m, err = migrations.New(o); err != nil {
		return done, err
	}
	done.Outcome, err = m.Down(ctx, target)
	return done, err
}
