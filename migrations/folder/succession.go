package folder

import (
	"errors"
	"fmt"
)

// ErrRewritten means that a release changes migrations that the running one has applied.
var ErrRewritten = errors.New("applied migrations do not change")

// Follows checks that a database brought to the running release's folder can go on with this one: every migration of the
// running release is still here, unchanged, and what is new comes after all of them. The error names each that is not so
// and is ErrRewritten.
//
// No tool notices a file that was added below the last one applied: golang-migrate and drizzle-orm both compare versions
// with the last and pass over it for ever. A folder that has been applied differs from one that will be, and the rehearsal
// has both.
func (s *Source) Follows(running *Source) error {
	var faults []error
	for _, old := range running.migrations {
		i, found := s.Find(old.Version)
		switch {
		case !found:
			faults = append(faults, fmt.Errorf("%s: the running release has applied it (version %d), and it is not here any more: %w", old.File, old.Version, ErrRewritten))
		case !s.migrations[i].holds(old):
			faults = append(faults, fmt.Errorf("%s: the running release has applied it with other content, which will not change any more: undo the edit and write a new migration: %w",
				s.migrations[i].File, ErrRewritten))
		}
	}
	last := running.migrations[len(running.migrations)-1]
	for _, m := range s.migrations {
		if _, known := running.Find(m.Version); !known && m.Version < last.Version {
			faults = append(faults, fmt.Errorf("%s: new, but its version %d is below %d of %s, which the running release has applied, so it would never run: generate it anew on top: %w",
				m.File, m.Version, last.Version, last.Name, ErrRewritten))
		}
	}
	return errors.Join(faults...)
}

// holds says whether a migration has all of another's files, unchanged. More of them is what accepting files is: the
// database has them already, by another runner.
func (m Migration) holds(old Migration) bool {
	kept := 0
	for _, f := range m.Files {
		if kept < len(old.Files) && f.SHA256 == old.Files[kept].SHA256 {
			kept++
		}
	}
	return kept == len(old.Files)
}
