package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/folder"
)

// Database is a database that an application's migrations are for.
type Database struct {
	Client *dagger.Client
	App    *Application
	URL    string
	Notice io.Writer // is told what a run is waiting for
}

// At replaces host and port of a database's URL by a service's, where there is one.
func At(ctx context.Context, address string, service *dagger.Service) (string, error) {
	if service == nil {
		return address, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("the database's URL is not of the form postgres://user:password@host:port/database")
	}
	started, err := service.Start(ctx)
	if err != nil {
		return "", fmt.Errorf("start the database: %w", err)
	}
	if u.Host, err = started.Endpoint(ctx); err != nil {
		return "", fmt.Errorf("find the database: %w", err)
	}
	return u.String(), nil
}

func (d *Database) migrator() (*migrations.Migrator, error) {
	database := d.App.Config.Database
	if database == nil {
		return nil, errors.New("pipeline.yaml has no database section: there is nothing to migrate")
	}
	return migrations.New(migrations.Options{
		URL: d.URL, FS: d.App.Files, Dir: database.Migrations, Format: folder.Format(database.Format),
		Notice: func(message string) { fmt.Fprintln(d.Notice, message) },
	})
}

// Pending lists the migrations that the database does not have, a line each.
func (d *Database) Pending(ctx context.Context) (string, error) {
	m, err := d.migrator()
	if err != nil {
		return "", err
	}
	pending, err := m.Pending(ctx)
	if err != nil {
		return "", err
	}
	if len(pending) == 0 {
		return "nothing to do: the database has every migration\n", nil
	}
	var lines strings.Builder
	for _, p := range pending {
		fmt.Fprintf(&lines, "%d  %s\n", p.Version, p.Name)
	}
	return lines.String(), nil
}

// Up backs the database up into a directory, proves the backup and applies what is pending. It returns what was done, for
// people, and the backup's file.
func (d *Database) Up(ctx context.Context, dir string) (summary, file string, err error) {
	m, err := d.migrator()
	if err != nil {
		return "", "", err
	}
	if _, err := m.Pending(ctx); err != nil {
		return "", "", err
	}
	version, err := serverVersion(ctx, d.URL)
	if err != nil {
		return "", "", err
	}
	backup, err := backup.Make(ctx, backup.Options{URL: d.URL, Dumper: &Dumper{Client: d.Client, Version: version}, Dir: dir})
	if err != nil {
		return "", "", err
	}
	outcome, err := m.Up(ctx)
	if err != nil {
		return "", backup.File, err
	}
	var lines strings.Builder
	fmt.Fprintf(&lines, "backup: %d bytes, %d tables, restored and equal\n", backup.Bytes, len(backup.Tables))
	for _, a := range outcome.Applied {
		fmt.Fprintf(&lines, "%d  %s  %d statements  %s\n", a.Version, a.Name, a.Statements, a.Duration.Round(time.Millisecond))
	}
	fmt.Fprintf(&lines, "version %d, was %d\n", outcome.To, outcome.From)
	return lines.String(), backup.File, nil
}

// serverVersion is the major version of a PostgreSQL server: pg_dump must not be older.
func serverVersion(ctx context.Context, address string) (string, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return "", errors.New("the database's URL cannot be read") // pgx quotes the URL
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", fmt.Errorf("ask for the server's version: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	major, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	major, _, _ = strings.Cut(major, " ")
	return major, nil
}
