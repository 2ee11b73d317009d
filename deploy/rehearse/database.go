package rehearse

import (
	"context"
	"strings"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/folder"
)

// database is the ephemeral copy's database: it implements deploy.Database and puts its evidence into the report.
type database struct {
	url     string
	release Application
	dumper  backup.Dumper
	out     *report.Report
	stages  *stages
	running *folder.Source // nil: the running release has no migrations
}

func (d *database) evidence() *report.Database {
	if d.out.Database == nil {
		d.out.Database = &report.Database{}
	}
	return d.out.Database
}

// prepare brings an empty database to the running release's schema with its own migrations.
func (d *database) prepare(ctx context.Context, running Application) error {
	if running.Config.Database == nil {
		return nil
	}
	m, err := d.migrator(running)
	if err != nil {
		return err
	}
	d.running = m.Source()
	_, err = m.Up(ctx)
	return err
}

func (d *database) migrator(app Application) (*migrations.Migrator, error) {
	return migrations.New(migrations.Options{
		URL: d.url, FS: app.Files, Dir: app.Config.Database.Migrations, Format: folder.Format(app.Config.Database.Format),
	})
}

// Backup dumps the database and proves the dump by restoring it.
func (d *database) Backup(ctx context.Context) (backup.Backup, error) {
	b, err := backup.Make(ctx, backup.Options{URL: d.url, Dumper: d.dumper})
	if err != nil {
		return b, err
	}
	d.evidence().Backup = &b
	d.stages.detail("restored and equal")
	return b, nil
}

// Migrate applies the release's pending migrations. A migration that the running release has applied and the new one has
// changed, removed or preceded is refused: applying what is left would pass over it in silence.
func (d *database) Migrate(ctx context.Context) (migrations.Outcome, error) {
	m, err := d.migrator(d.release)
	if err != nil {
		return migrations.Outcome{}, err
	}
	if d.running != nil {
		if err := m.Source().Follows(d.running); err != nil {
			return migrations.Outcome{}, err
		}
	}
	outcome, err := m.Up(ctx)
	d.evidence().Migrations = outcome
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
