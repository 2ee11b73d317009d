package main

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	stock "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// directory is where the migrations of all groups are.
const directory = "migrations"

// files are migrations, in their order.
func files(sql ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i, text := range sql {
		fsys[fmt.Sprintf("%s/%04d_change.up.sql", directory, i+1)] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return fsys
}

// ours migrates with the migrator of the pipeline, as it is by default.
func ours(ctx context.Context, address string, fsys fs.FS) (migrations.Outcome, error) {
	m, err := migrations.New(migrations.Options{URL: address, FS: fsys, Folder: folder.Options{Dir: directory}, Actor: "bench", Tool: "bench"})
	if err != nil {
		return migrations.Outcome{}, err
	}
	return m.Up(ctx)
}

// theirs migrates with golang-migrate as it comes. It knows no context: when that ends, it is left to itself, and its
// server is about to be stopped. migrate.ErrNoChange says that there was nothing to do.
func theirs(ctx context.Context, address string, fsys fs.FS) error {
	ended := make(chan error, 1)
	go func() { ended <- golangMigrate(address, fsys) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func golangMigrate(address string, fsys fs.FS) error {
	src, err := iofs.New(fsys, directory)
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx/v5", address)
	if err != nil {
		return err
	}
	defer db.Close()
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	driver, err := stock.WithInstance(db, &stock.Config{DatabaseName: strings.TrimPrefix(u.Path, "/")})
	if err != nil {
		return err
	}
	defer driver.Close()
	m, err := migrate.NewWithInstance("iofs", src, "postgres", driver)
	if err != nil {
		return err
	}
	return m.Up()
}

// psql runs the files by psql, one after another in one session, as people do by hand: it keeps no record of them.
func psql(ctx context.Context, address string, fsys fstest.MapFS) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{"--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--output", os.DevNull}
	var names []string
	for name := range fsys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, fsys[name].Data, 0o644); err != nil {
			return err
		}
		args = append(args, "--file", file)
	}
	return runTool(ctx, address, "psql", args...)
}

// forget is the SQL that removes what all of them remember.
func forget() string {
	return "DROP TABLE IF EXISTS " + strings.Join(history.Names, ", ") + ";"
}
