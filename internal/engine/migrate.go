package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/pg"
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

// At is the address of a database, with host and port of a service where there is one. What cannot work is refused, in words
// that do not show the address.
func At(ctx context.Context, address string, service *dagger.Service) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errors.New("the database's URL is not of the form postgres://user:password@host:port/database (it is not shown, for it may hold a " +
			"password): write special characters in the password as %XX, and name with --url where it is, as in env://DATABASE_URL")
	}
	if service == nil {
		return address, reachable(u)
	}
	started, err := service.Start(ctx)
	if err != nil {
		return "", fmt.Errorf("start the database, or reach the one that --db names: %w", err)
	}
	if u.Host, err = started.Endpoint(ctx); err != nil {
		return "", fmt.Errorf("find the database that --db names: %w", err)
	}
	return u.String(), nil
}

// reachable refuses a host that means another machine to who writes it than to the engine.
func reachable(u *url.URL) error {
	switch host := u.Hostname(); host {
	case "":
		return errors.New("the database's URL has no host: write postgres://user:password@host:port/database, or pass the server with --db")
	case "localhost", "127.0.0.1", "::1":
		return fmt.Errorf("the database's URL names %s, which is a container of its own on a Dagger engine: pass the server on your machine with --db tcp://%s",
			host, net.JoinHostPort(host, cmp.Or(u.Port(), "5432")))
	}
	return nil
}

// Stage is the database stage on the engine: tools and scratch servers are containers of the server's own version. Backups
// are kept in dir.
func (d *Database) Stage(ctx context.Context, dir string) (*database.Stage, error) {
	db := d.App.Config.Database
	if db == nil {
		return nil, errors.New("pipeline.yaml has no database section, so there is nothing to migrate; where there are migrations, add database: {migrations: FOLDER}")
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
	conn, err := pg.Connect(ctx, address)
	if err != nil {
		return "", err
	}
	defer pg.HangUp(ctx, conn)
	major, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	major, _, _ = strings.Cut(major, " ")
	return major, nil
}
