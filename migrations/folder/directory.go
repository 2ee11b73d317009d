package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// directory is the folder that a Source reads. Names are relative to it; people see them with it in front.
type directory struct {
	fsys     fs.FS
	name     string
	accepted []string // files that are given a place by hand, as people see them
}

// reading is what a layout finds in a directory by names alone.
type reading struct {
	migrations []Migration
	irregular  []Irregular
	faults     []error
}

// show is a file's name for people, and its path in the application: migrations/0001_kind.sql.
func (d directory) show(name string) string { return path.Join(d.name, name) }

func (d directory) list() ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(d.fsys, d.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such directory of migrations: %w", d.name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.name, err)
	}
	return entries, nil
}

// sqlFiles are the files of the directory itself that end in .sql, in order of their names.
func (d directory) sqlFiles() ([]string, error) {
	entries, err := d.list()
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".sql") {
			files = append(files, e.Name())
		}
	}
	return files, nil
}

func (d directory) read(name string) ([]byte, error) {
	return fs.ReadFile(d.fsys, d.show(name))
}

func (d directory) has(name string) bool { return exists(d.fsys, d.show(name)) }

func exists(fsys fs.FS, file string) bool {
	info, err := fs.Stat(fsys, file)
	return err == nil && !info.IsDir()
}

// accepts says whether a file is given a place by hand.
func (d directory) accepts(name string) bool { return slices.Contains(d.accepted, d.show(name)) }

// besideAccepted says whether a file is the way back or the check of one that is accepted.
func (d directory) besideAccepted(name string) bool {
	return slices.ContainsFunc(d.accepted, func(up string) bool {
		return d.show(name) == beside(up, downFile) || d.show(name) == beside(up, verifyFile)
	})
}

// migration is one of the sequence, with the files beside it.
func (d directory) migration(version int64, name, up, down string) Migration {
	m := Migration{Version: version, Name: name, File: d.show(up)}
	if down != "" && d.has(down) {
		m.Down = d.show(down)
	}
	return m
}

// The ways beside the one up.
const (
	downFile   = "down"
	verifyFile = "verify"
)

// beside is the file that belongs to an up file: 1_a.down.sql to 1_a.up.sql and to 1_a.sql, x/down.sql to x/migration.sql.
func beside(up, what string) string {
	if path.Base(up) == folderFile {
		return path.Join(path.Dir(up), what+".sql")
	}
	return stem(up) + "." + what + ".sql"
}

// stem is an up file's name without what says that it is one.
func stem(up string) string { return strings.TrimSuffix(strings.TrimSuffix(up, ".sql"), ".up") }

// claims are the files that belong to some migration.
type claims map[string]bool

func (c claims) add(up string) {
	c[up], c[beside(up, downFile)], c[beside(up, verifyFile)] = true, true, true
}

// orphan is the fault of a down or verify file whose migration is not here; nil for any other file.
func (d directory) orphan(name string) error {
	switch {
	case !isBeside(name) || d.besideAccepted(name):
		return nil
	case strings.HasSuffix(name, downFile+".sql"):
		return fmt.Errorf("%s: the way back of a migration that is not here: restore the migration, or remove the file", d.show(name))
	}
	return fmt.Errorf("%s: the check of a migration that is not here: restore the migration, or remove the file", d.show(name))
}
