package main

import (
	"context"
	"fmt"
	"os"

	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine"
)

// Migration is an application's migrations and the database they are for.
type Migration struct {
	// +private
	Pipeline *Pipeline
	// +private
	URL *dagger.Secret
	// +private
	DB *dagger.Service
}

// Migrated is what a migration has done.
type Migrated struct {
	// What was done, for people.
	Summary string
	// The backup from before, which was proven by restoring it.
	Backup *dagger.File
}

// Migrate is about the application's database: what is pending, and applying it.
func (m *Pipeline) Migrate(
	// The database's address: postgres://user:password@host:port/database.
	url *dagger.Secret,

	// The server, in place of the host and port in the address: tcp://localhost:5432 for one on the caller's machine.
	// +optional
	db *dagger.Service,

	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,
) *Migration {
	return &Migration{Pipeline: m.of(source), URL: url, DB: db}
}

// Plan lists the migrations that the database does not have. It changes nothing.
//
// +cache="never"
func (m *Migration) Plan(ctx context.Context) (string, error) {
	d, err := m.database(ctx)
	if err != nil {
		return "", err
	}
	return d.Pending(ctx)
}

// Up backs the database up, proves the backup by restoring it, and applies the pending migrations. A session does it once:
// otherwise a caller that asks for the summary and then for the backup would get one from after the migration.
//
// +cache="session"
func (m *Migration) Up(ctx context.Context) (*Migrated, error) {
	d, err := m.database(ctx)
	if err != nil {
		return nil, err
	}
	summary, file, err := d.Up(ctx, "backups")
	if err != nil {
		return nil, err
	}
	fmt.Print(summary)
	return &Migrated{Summary: summary, Backup: dag.CurrentModule().WorkdirFile(file)}, nil
}

func (m *Migration) database(ctx context.Context) (*engine.Database, error) {
	app, err := m.Pipeline.open(ctx)
	if err != nil {
		return nil, err
	}
	address, err := m.URL.Plaintext(ctx)
	if err != nil {
		return nil, err
	}
	if address, err = engine.At(ctx, address, m.DB); err != nil {
		return nil, err
	}
	return &engine.Database{Client: dag, App: app, URL: address, Notice: os.Stdout}, nil
}
