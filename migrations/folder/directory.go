package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/metaextract/pipeline/migrations/script"
)

// directory is the folder that a Source reads. Names are relative to it; people see them with it in front.
type directory struct {
	fsys fs.FS
	name string
}

// show is a file's name for people: migrations/0001_kind.sql.
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

func (d directory) read(name string) ([]byte, error) {
	return fs.ReadFile(d.fsys, path.Join(d.name, name))
}

func (d directory) has(name string) bool {
	info, err := fs.Stat(d.fsys, path.Join(d.name, name))
	return err == nil && !info.IsDir()
}

// migration reads an up file and looks at it, and at its down file where there is one, without a database.
func (d directory) migration(version uint64, name, up, down string) (Migration, error) {
	m := Migration{Version: version, Name: name, File: d.show(up), up: up}
	body, err := d.read(up)
	if err != nil {
		return m, fmt.Errorf("read migration %s: %w", m.File, err)
	}
	m.SHA256 = Hash(body)
	s, err := script.Parse(m.File, string(body))
	if err != nil {
		return m, err
	}
	m.Statements, m.Transactional = len(s.Statements), !s.Outside
	if len(s.Statements) == 0 {
		return m, fmt.Errorf("%s: the migration has no statement: write one or remove the migration", m.File)
	}
	if down == "" || !d.has(down) {
		return m, nil
	}
	m.Down, m.down = d.show(down), down
	if body, err = d.read(down); err != nil {
		return m, fmt.Errorf("read migration %s: %w", m.Down, err)
	}
	_, err = script.Parse(m.Down, string(body))
	return m, err
}

// Hash names a file's content, as drizzle-orm does.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// claim removes a file from those nobody has read yet.
func claim(files []string, name string) []string {
	return slices.DeleteFunc(files, func(f string) bool { return f == name })
}
