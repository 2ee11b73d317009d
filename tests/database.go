package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Database tests migrations.
type Database struct {
	// +private
	Tests *Tests
}

// Database tests migrations.
func (t *Tests) Database() *Database { return &Database{Tests: t} }

// Migrates an empty PostgreSQL server, with a backup before.
//
// +check
// +cache="session"
func (d *Database) Migrates(ctx context.Context) error {
	password := rand.Text()
	server := dag.Container().From("postgres:17").
		WithSecretVariable("POSTGRES_PASSWORD", dag.SetSecret("tests-database-password", password)).
		WithEnvVariable("NONCE", rand.Text()).
		WithExposedPort(5432).
		AsService(dagger.ContainerAsServiceOpts{UseEntrypoint: true})
	url := dag.SetSecret("tests-database-url", fmt.Sprintf("postgres://postgres:%s@somewhere/postgres?sslmode=disable", password))
	migration := dag.Pipeline(dagger.PipelineOpts{Source: d.Tests.Sample.WithDirectory("/", d.Tests.Next)}).
		Migrate(url, dagger.PipelineMigrateOpts{Db: server})

	plan, err := migration.Plan(ctx)
	if err != nil {
		return err
	}
	if err := contains(plan, "0000_extractions", "0001_kind"); err != nil {
		return err
	}
	done := migration.Up()
	summary, err := done.Summary(ctx)
	if err != nil {
		return err
	}
	if err := contains(summary, "restored and equal", "0000_extractions", "0001_kind", "version "); err != nil {
		return err
	}
	if size, err := done.Backup().Size(ctx); err != nil || size == 0 {
		return fmt.Errorf("the backup has %d bytes: %w", size, err)
	}
	if plan, err = migration.Plan(ctx); err != nil {
		return err
	}
	return contains(plan, "nothing to do")
}
