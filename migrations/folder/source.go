// Package folder reads folders of migrations in the formats that people have: pairs of SQL files, plain numbered files,
// drizzle-kit's two layouts. It checks a folder as a whole and is golang-migrate's source.Driver over it. It touches no
// database.
package folder

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/golang-migrate/migrate/v4/source"

	"github.com/metaextract/pipeline/migrations/script"
)

// Options say which folder is read.
type Options struct {
	Dir    string // within the application
	Format Format
	Accept []Accept // files with a place that their format does not give them
}

// Migration is one schema change of a folder.
type Migration struct {
	Version       int64           `json:"version"`
	Name          string          `json:"name"`             // 0001_kind
	File          string          `json:"file"`             // migrations/0001_kind.sql
	Down          string          `json:"down,omitempty"`   // the way back, where there is one
	Verify        string          `json:"verify,omitempty"` // a script that must succeed once it has been applied, where there is one
	Files         []File          `json:"files"`            // File, and those that are accepted with it, in the order in which they run
	SHA256        string          `json:"sha256"`           // of what is run: of one file its bytes, what drizzle-orm records as hash
	Statements    int             `json:"statements"`
	Transactional bool            `json:"transactional"` // false: it runs statement by statement and can stop half done
	Declared      script.Declared `json:"-"`

	up, down, verify []string // their files, in the order in which they run
}

// File is one file of a migration.
type File struct {
	Name   string `json:"name"`   // its path from the application's root
	SHA256 string `json:"sha256"` // of its bytes
}

// Way is which of a migration's scripts is meant.
type Way string

// The ways.
const (
	Up     Way = "up"
	Down   Way = "down"
	Verify Way = "verify" // after Up, in a transaction that is rolled back
)

// files are those of one of a migration's ways.
func (m Migration) files(way Way) []string {
	switch way {
	case Up:
		return m.up
	case Down:
		return m.down
	}
	return m.verify
}

// Source is a folder of migrations, checked as a whole. It is golang-migrate's source.Driver over every format, and
// reads each file anew when asked, so what runs is what the folder holds then.
//
// golang-migrate's own iofs driver passes over what it cannot parse; a file that is silently not run is the fault
// people lose data to, so here it is an error.
type Source struct {
	fsys       fs.FS
	name       string
	migrations []Migration
}

var _ source.Driver = (*Source)(nil)

// Open reads a folder. The error names every fault found, with its file and, where there is one, line.
func Open(fsys fs.FS, options Options) (*Source, error) {
	s, irregular, faults := read(fsys, options)
	for _, i := range irregular {
		faults = append(faults, i.Fault)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

// Inspect reads a folder that Open may refuse: files that are no part of the sequence are named, and the sequence is read
// without them. The error is of any other fault.
func Inspect(fsys fs.FS, options Options) (*Source, []Irregular, error) {
	s, irregular, faults := read(fsys, options)
	if err := errors.Join(faults...); err != nil {
		return nil, nil, err
	}
	return s, irregular, nil
}

func read(fsys fs.FS, options Options) (*Source, []Irregular, []error) {
	if fsys == nil {
		return nil, nil, []error{errors.New("open migrations: no file system given")}
	}
	if !fs.ValidPath(path.Clean(options.Dir)) {
		return nil, nil, []error{fmt.Errorf("open migrations: %q is not a directory within the application: write it relative to pipeline.yaml", options.Dir)}
	}
	d := directory{fsys: fsys, name: path.Clean(options.Dir)}
	for _, a := range options.Accept {
		d.accepted = append(d.accepted, a.File)
	}
	layout, err := choose(d, options.Format)
	if err != nil {
		return nil, nil, []error{err}
	}
	r := layout(d)
	list := r.migrations
	slices.SortFunc(list, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	for i := range list {
		list[i].up = []string{list[i].File}
	}
	if err := attach(fsys, list, options.Accept); err != nil {
		r.faults = append(r.faults, err)
	}
	for i := range list {
		if err := list[i].load(fsys); err != nil {
			r.faults = append(r.faults, err)
		}
	}
	if len(list) == 0 && len(r.faults)+len(r.irregular) == 0 {
		r.faults = append(r.faults, fmt.Errorf("%s: no migrations", d.name))
	}
	return &Source{fsys: fsys, name: d.name, migrations: list}, r.irregular, r.faults
}

// Name is the folder, for people.
func (s *Source) Name() string { return s.name }

// Migrations lists the folder in order of version.
func (s *Source) Migrations() []Migration { return slices.Clone(s.migrations) }

// Find is a version's place, or the place it would have.
func (s *Source) Find(version int64) (int, bool) {
	return slices.BinarySearchFunc(s.migrations, version, func(m Migration, v int64) int { return cmp.Compare(m.Version, v) })
}

// Script reads one of a migration's scripts. Where the migration has none, the error is fs.ErrNotExist.
func (s *Source) Script(m Migration, way Way) (*script.Script, error) {
	files := m.files(way)
	if len(files) == 0 {
		return nil, &fs.PathError{Op: fmt.Sprintf("read %s script of", way), Path: m.File, Err: fs.ErrNotExist}
	}
	body, err := text(s.fsys, files)
	if err != nil {
		return nil, err
	}
	return script.Parse(files[0], body)
}

// Open is not for use: a Source comes from the function Open.
func (s *Source) Open(string) (source.Driver, error) {
	return nil, errors.New("a folder of migrations has no URL: use folder.Open")
}

// Close has nothing to close: each file is closed after it was read.
func (s *Source) Close() error { return nil }

// First is the lowest version.
func (s *Source) First() (uint, error) { return s.at(0, "first", 0) }

// Prev is the version below one of the folder's.
func (s *Source) Prev(version uint) (uint, error) {
	i, found := s.Find(int64(version))
	if !found {
		i = 0
	}
	return s.at(i-1, "previous", version)
}

// Next is the version above one of the folder's.
func (s *Source) Next(version uint) (uint, error) {
	i, found := s.Find(int64(version))
	if !found {
		i = len(s.migrations)
	}
	return s.at(i+1, "next", version)
}

func (s *Source) at(i int, what string, version uint) (uint, error) {
	if i < 0 || i >= len(s.migrations) {
		return 0, &fs.PathError{Op: fmt.Sprintf("find migration %s to %d", what, version), Path: s.name, Err: fs.ErrNotExist}
	}
	return uint(s.migrations[i].Version), nil
}

// ReadUp opens the way forward of a version. Of a migration with several files it is the text that script.Join makes.
func (s *Source) ReadUp(version uint) (io.ReadCloser, string, error) { return s.open(version, Up) }

// ReadDown opens the way back of a version. As the engine demands, a missing one is fs.ErrNotExist; the engine would
// then lower the version and change nothing, which our database driver refuses.
func (s *Source) ReadDown(version uint) (io.ReadCloser, string, error) { return s.open(version, Down) }

func (s *Source) open(version uint, way Way) (io.ReadCloser, string, error) {
	i, found := s.Find(int64(version))
	if !found || len(s.migrations[i].files(way)) == 0 {
		return nil, "", &fs.PathError{Op: fmt.Sprintf("read migration %d", version), Path: s.name, Err: fs.ErrNotExist}
	}
	body, err := text(s.fsys, s.migrations[i].files(way))
	if err != nil {
		return nil, "", err
	}
	return io.NopCloser(strings.NewReader(body)), s.migrations[i].Name, nil
}
