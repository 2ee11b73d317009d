package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/script"
)

// Ephemeral is a database that was made for the occasion, on a server of its own: the running release's schema, and what its
// seed puts into it.
type Ephemeral struct {
	URL    string
	server backup.Scratch
}

// name is that of an ephemeral database, as the services of an application have it.
const name = "application"

// MakeEphemeral starts a server and brings an empty database to the schema of a release. Close it.
func MakeEphemeral(ctx context.Context, cluster backup.Cluster, major int, files fs.FS, db *config.Database, notice func(string)) (e *Ephemeral, err error) {
	server, err := cluster.Start(ctx, backup.Server{Major: major, Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements", "wal_level": "replica"}})
	if err != nil {
		return nil, err
	}
	e = &Ephemeral{server: server}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close(ctx))
			e = nil
		}
	}()
	conn, err := pg.Connect(ctx, server.URL())
	if err != nil {
		return e, err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	pg.HangUp(ctx, conn)
	if err != nil {
		return e, fmt.Errorf("make a database: %w", pg.Ended(ctx, err))
	}
	if e.URL, err = pg.OnDatabase(server.URL(), name); err != nil {
		return e, err
	}
	m, err := migrations.New(migrations.Options{URL: e.URL, FS: files, Folder: folder.FromConfig(db), Notice: notice})
	if err != nil {
		return e, err
	}
	if _, err := m.Up(ctx); err != nil {
		return e, fmt.Errorf("bring an empty database to the running release's schema: %w", err)
	}
	return e, Seed(ctx, e.URL, files, db.Seed)
}

// Close ends the server, also when the context has ended.
func (e *Ephemeral) Close(ctx context.Context) error {
	return e.server.Close(context.WithoutCancel(ctx))
}

// Seed runs a file of SQL on a database; "" is no file.
func Seed(ctx context.Context, url string, files fs.FS, file string) error {
	if file == "" {
		return nil
	}
	body, err := fs.ReadFile(files, file)
	if err != nil {
		return fmt.Errorf("read seed: %w", err)
	}
	s, err := script.Parse(file, string(body))
	if err != nil {
		return err
	}
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	if _, err := conn.Exec(ctx, s.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
		var server *pgconn.PgError
		if errors.As(err, &server) {
			return s.Explain(server, 0, max(len(s.Statements)-1, 0))
		}
		return fmt.Errorf("run %s: %w", file, pg.Ended(ctx, err))
	}
	return nil
}
