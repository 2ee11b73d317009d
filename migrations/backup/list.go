package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// State is what can be said of a kept backup without reading it.
type State string

// The states.
const (
	Proven    State = "proven"
	Unproven  State = "not proven"  // its proof failed, or the run that would have made it was killed
	Anonymous State = "no manifest" // nothing is known of it but its time, or what is known cannot be read
	Missing   State = "no file"     // its manifest alone is there
	Damaged   State = "damaged"     // the file does not have the size that was written
)

// Stored is a backup in a directory.
type Stored struct {
	Backup
	State   State  `json:"state"`
	Problem string `json:"problem,omitempty"` // why the state is not Proven
}

// List lists the backups of a directory, the newest first. It reads their manifests, and not the backups: Verify does. What
// does not have the name of a backup is passed over.
func List(dir string) ([]Stored, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	var list []Stored
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), manifestSuffix)
		match := fileName.FindStringSubmatch(name)
		if match == nil {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if name != e.Name() && err == nil {
			continue // the manifest of a file that has its own entry
		}
		list = append(list, stored(path, match[1], info))
	}
	slices.SortFunc(list, func(a, b Stored) int { return strings.Compare(b.ID, a.ID) })
	return list, nil
}

// stored is one backup, by its file's path and the id in its name. The file may not be there.
func stored(path, id string, info fs.FileInfo) Stored {
	m, err := readManifest(path)
	if err != nil {
		started, _ := time.Parse("20060102T150405Z", id[:16])
		s := Stored{Backup: Backup{ID: id, File: path, Started: started}, State: Anonymous, Problem: err.Error()}
		if errors.Is(err, fs.ErrNotExist) {
			s.Problem = "it has no manifest: the run that made it was killed, or somebody removed it"
		}
		if info != nil {
			s.Bytes = info.Size()
		}
		return s
	}
	s := Stored{Backup: m.Backup, State: Proven}
	s.ID = id // what decides about a file is in its own name
	switch {
	case info == nil:
		s.State, s.Problem = Missing, "the file is not there"
	case info.Size() != m.Bytes:
		s.State, s.Problem = Damaged, fmt.Sprintf("it has %d bytes, and %d were written", info.Size(), m.Bytes)
	case !m.Proven:
		s.State, s.Problem = Unproven, "the run that made it ended before it was proven"
		for _, r := range m.Proof {
			if !r.OK && !r.Skipped {
				s.Problem = r.Name + ": " + r.Detail
			}
		}
	}
	return s
}
