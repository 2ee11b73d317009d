package rehearse

import (
	"context"
	"fmt"
	"time"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/migrations"
)

// database is the ephemeral copy's database: it implements deploy.Database and puts its evidence into the report.
type database struct {
	url     string
	release Application
	dumper  migrations.Dumper
	out     *report.Report
	stages  *stages
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
	_, err := d.up(ctx, running)
	return err
}

func (d *database) up(ctx context.Context, app Application) (migrations.Outcome, error) {
	m, err := migrations.New(migrations.Options{
		URL: d.url, FS: app.Files, Dir: app.Config.Database.Migrations, Format: migrations.Format(app.Config.Database.Format),
	})
	if err != nil {
		return migrations.Outcome{}, err
	}
	return m.Up(ctx)
}

// Backup dumps the database and proves the dump by restoring it.
func (d *database) Backup(ctx context.Context) (migrations.Backup, error) {
	b, err := migrations.BackUp(ctx, migrations.BackupOptions{URL: d.url, Dumper: d.dumper})
	if err != nil {
		return b, err
	}
	d.evidence().Backup = &b
	d.stages.detail(fmt.Sprintf("%d tables, %d bytes, restored and equal", len(b.Tables), b.Bytes))
	return b, nil
}

// Migrate applies the release's pending migrations.
func (d *database) Migrate(ctx context.Context) (migrations.Outcome, error) {
	outcome, err := d.up(ctx, d.release)
	d.evidence().Migrations = outcome
	if err != nil {
		return outcome, err
	}
	statements := 0
	for _, a := range outcome.Applied {
		statements += a.Statements
	}
	d.stages.detail(fmt.Sprintf("%d migrations, %d statements, %s", len(outcome.Applied), statements, outcome.Elapsed.Round(time.Millisecond)))
	return outcome, nil
}
