package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/ci/report"
	stage "github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// database is the ephemeral copy's database: it implements deploy.Database and puts its evidence into the report.
type database struct {
	stage   *stage.Stage
	redis   *redis
	out     *report.Report
	stages  *stages
	tests   []corpus.Statement // that the running release's tests have sent
	running *folder.Source     // nil: the running release has no migrations
	backup  backup.Backup
}

func (d *database) evidence() *report.Database {
	if d.out.Database == nil {
		d.out.Database = &report.Database{}
	}
	return d.out.Database
}

// prepare brings an empty database to the running release's schema with its own migrations, and seeds it.
func (d *database) prepare(ctx context.Context, running Application) error {
	db := running.Config.Database
	if db == nil {
		return nil
	}
	m, err := migrations.New(migrations.Options{URL: d.stage.URL, FS: running.Files, Folder: folder.FromConfig(db), Release: running.Version})
	if err != nil {
		return err
	}
	d.running = m.Source()
	if _, err = m.Up(ctx); err != nil {
		return err
	}
	return stage.Seed(ctx, d.stage.URL, running.Files, db.Seed)
}

// Backup dumps the database and proves the dump by restoring it into a server of its own.
func (d *database) Backup(ctx context.Context) (backup.Backup, error) {
	b, err := d.stage.Backup(ctx, true)
	if err != nil {
		return b, err
	}
	d.backup = b
	d.evidence().Backup = &b
	d.stages.detail("restored and equal")
	return b, nil
}

// Rehearse runs the pending migrations on the copy that proved the backup, and holds them against what the running release
// sends: in its tests, and in the traffic until now. A migration that the running release has applied and the new one has
// changed, removed or preceded is refused: applying what is left would pass over it in silence.
func (d *database) Rehearse(ctx context.Context) error {
	defer func() { _ = d.backup.Copy.Close(context.WithoutCancel(ctx)) }()
	m, err := d.stage.Migrator()
	if err != nil {
		return err
	}
	if d.running != nil {
		if err := m.Source().Follows(d.running); err != nil {
			return err
		}
	}
	traffic, err := d.traffic(ctx)
	if err != nil {
		return err
	}
	d.stage.Statements = corpus.Merge(d.tests, traffic)
	r, err := d.stage.RehearseOn(ctx, d.backup)
	if r != nil {
		d.evidence().Rehearsal = r
	}
	if err != nil {
		return err
	}
	d.stages.detail(fmt.Sprintf("%d statements measured, %d of the running release's checked", len(r.Statements), len(d.stage.Statements)))
	if r.Verdict != rehearsal.Proven {
		return errors.New(strings.Join(r.Reasons, "\n"))
	}
	return nil
}

// traffic are the statements that the running release has sent in this environment. They are read in another database of
// the server, so that what reads them is no part of the application's schema.
func (d *database) traffic(ctx context.Context) ([]corpus.Statement, error) {
	server, err := pg.OnDatabase(d.stage.URL, "postgres")
	if err != nil {
		return nil, err
	}
	conn, err := pg.Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	defer pg.HangUp(ctx, conn)
	own, err := pgx.ParseConfig(d.stage.URL)
	if err != nil {
		return nil, errors.New("the database's URL cannot be read") // pgx quotes it
	}
	if err := corpus.Enable(ctx, conn); errors.Is(err, corpus.ErrNotLoaded) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return corpus.Read(ctx, conn, "traffic", own.Database)
}

// Migrate applies the release's pending migrations.
func (d *database) Migrate(ctx context.Context) (migrations.Outcome, error) {
	outcome, err := d.stage.Apply(ctx, d.backup.ID, d.evidence().Rehearsal)
	d.evidence().Migrations = outcome
	if err == nil {
		err = d.redis.mark(ctx, migrateKeys)
	}
	if err != nil {
		return outcome, err
	}
	names := []string{"nothing to apply"}
	for _, a := range outcome.Applied {
		names = append(names, a.Name)
	}
	d.stages.detail(strings.Join(names[min(1, len(names)-1):], ", "))
	return outcome, nil
}

// Allows asks the schema's floor.
func (d *database) Allows(ctx context.Context, release string) error {
	m, err := d.stage.Migrator()
	if err != nil {
		return err
	}
	return m.Allows(ctx, release)
}
