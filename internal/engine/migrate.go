package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Database is a database that an application's migrations are for.
type Database struct {
	Client *dagger.Client
	App    *Application
	URL    string
	Notice io.Writer // is told what a run is waiting for
	// Running is the release that runs meanwhile, and Actor who migrates: for the history.
	Running, Actor string
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

// Stage is the database stage on the engine: tools and scratch servers are containers of the server's own version. Backups
// are kept in dir.
func (d *Database) Stage(ctx context.Context, dir string) (*database.Stage, error) {
	db := d.App.Config.Database
	if db == nil {
		return nil, errors.New("pipeline.yaml has no database section: there is nothing to migrate")
	}
	version, err := serverVersion(ctx, d.URL)
	if err != nil {
		return nil, err
	}
	return &database.Stage{
		Files: d.App.Files, Config: db, URL: d.URL, Dumper: &Dumper{Client: d.Client, Tag: version}, Cluster: &Cluster{Client: d.Client}, Dir: dir,
		Release: d.App.Version, Running: d.Running, Actor: d.Actor, Tool: "pipeline module", Notice: func(message string) { fmt.Fprintln(d.Notice, message) },
	}, nil
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
