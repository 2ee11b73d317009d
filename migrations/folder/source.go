// Package folder reads folders of migrations in the formats that people have: pairs of SQL files, drizzle-kit's two
// layouts, plain numbered files. It checks a folder as a whole and is golang-migrate's source.Driver over it. It touches no
// database.
package folder

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"

	"github.com/golang-migrate/migrate/v4/source"
)

// Migration is one schema change of a folder.
type Migration struct {
	Version       uint64 `json:"version"`
	Name          string `json:"name"`           // 0001_kind
	File          string `json:"file"`           // migrations/0001_kind.sql
	Down          string `json:"down,omitempty"` // the way back, where there is one
	SHA256        string `json:"sha256"`         // of the file's bytes: what drizzle-orm records as hash
	Statements    int    `json:"statements"`
	Transactional bool   `json:"transactional"` // false: it runs statement by statement and can stop half done

	up, down string // names within the directory
}

// Source is a folder of migrations, checked as a whole. It is golang-migrate's source.Driver over every format, and
// reads each file anew when asked, so what runs is what the folder holds then.
//
// golang-migrate's own iofs driver passes over what it cannot parse; a file that is silently not run is the fault
// people lose data to, so here it is an error.
type Source struct {
	dir        directory
	migrations []Migration
}

var _ source.Driver = (*Source)(nil)

// Open reads the folder dir of fsys. The error names every fault found, with its file and, where there is one, line.
func Open(fsys fs.FS, dir string, format Format) (*Source, error) {
	if fsys == nil {
		return nil, errors.New("open migrations: no file system given")
	}
	if !fs.ValidPath(path.Clean(dir)) {
		return nil, fmt.Errorf("open migrations: %q is not a directory within the application: write it relative to pipeline.yaml", dir)
	}
	d := directory{fsys: fsys, name: path.Clean(dir)}
	read, err := choose(d, format)
	if err != nil {
		return nil, err
	}
	list, err := read(d)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no migrations", d.name)
	}
	slices.SortFunc(list, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	return &Source{dir: d, migrations: list}, nil
}

// Name is the folder, for people.
func (s *Source) Name() string { return s.dir.name }

// Migrations lists the folder in order of version.
func (s *Source) Migrations() []Migration { return slices.Clone(s.migrations) }

// Find is a version's place, or the place it would have.
func (s *Source) Find(version uint64) (int, bool) {
	return slices.BinarySearchFunc(s.migrations, version, func(m Migration, v uint64) int { return cmp.Compare(m.Version, v) })
}

// Open is not for use: a Source comes from the function Open.
func (s *Source) Open(string) (source.Driver, error) {
	return nil, errors.New("a folder of migrations has no URL: use migrations.Open")
}

// Close has nothing to close: each file is closed after it was read.
func (s *Source) Close() error { return nil }

// First is the lowest version.
func (s *Source) First() (uint, error) { return s.at(0, "first", 0) }

// Prev is the version below one of the folder's.
func (s *Source) Prev(version uint) (uint, error) {
	i, found := s.Find(uint64(version))
	if !found {
		i = 0
	}
	return s.at(i-1, "previous", version)
}

// Next is the version above one of the folder's.
func (s *Source) Next(version uint) (uint, error) {
	i, found := s.Find(uint64(version))
	if !found {
		i = len(s.migrations)
	}
	return s.at(i+1, "next", version)
}

func (s *Source) at(i int, what string, version uint) (uint, error) {
	if i < 0 || i >= len(s.migrations) {
		return 0, &fs.PathError{Op: fmt.Sprintf("find migration %s to %d", what, version), Path: s.dir.name, Err: fs.ErrNotExist}
	}
	return uint(s.migrations[i].Version), nil
}

// ReadUp opens the way forward of a version.
func (s *Source) ReadUp(version uint) (io.ReadCloser, string, error) {
	return s.open(version, func(m Migration) string { return m.up })
}

// ReadDown opens the way back of a version. As the engine demands, a missing one is fs.ErrNotExist; the engine would
// then lower the version and change nothing, which our database driver refuses.
func (s *Source) ReadDown(version uint) (io.ReadCloser, string, error) {
	return s.open(version, func(m Migration) string { return m.down })
}

func (s *Source) open(version uint, file func(Migration) string) (io.ReadCloser, string, error) {
	i, found := s.Find(uint64(version))
	if !found || file(s.migrations[i]) == "" {
		return nil, "", &fs.PathError{Op: fmt.Sprintf("read migration %d", version), Path: s.dir.name, Err: fs.ErrNotExist}
	}
	f, err := s.dir.fsys.Open(path.Join(s.dir.name, file(s.migrations[i])))
	if err != nil {
		return nil, "", fmt.Errorf("open migration: %w", err)
	}
	return f, s.migrations[i].Name, nil
}

// checkVersion refuses what schema_migrations cannot hold, and 0, which stands for a database without migrations.
func checkVersion(version uint64, file string) error {
	if version == 0 || version > math.MaxInt64 {
		return fmt.Errorf("%s: version %d is outside 1 to %d", file, version, int64(math.MaxInt64))
	}
	return nil
}
