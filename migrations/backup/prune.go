package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Policy says which backups stay. Of each database, those stay that are among the Keep newest proven ones, and those that
// are younger than MaxAge; a backup that is neither is removed. The newest proven one stays, whatever its age, and
// so does what is newer than it.
type Policy struct {
	Keep   int           // default 1
	MaxAge time.Duration // 0: age keeps nothing
	Now    time.Time
}

// Prune removes the backups that a policy does not keep, and what killed runs left half written, and returns what it
// removed. A backup that is being verified or restored stays, and so does one without a readable manifest: which database
// it is of, nobody knows.
func Prune(dir string, p Policy) (removed []Stored, err error) {
	if p.Keep <= 0 && p.MaxAge <= 0 || p.Now.IsZero() {
		return nil, errors.New("prune backups: the policy keeps nothing: give a number or an age, and the time it is")
	}
	if err := sweepStore(dir); err != nil {
		return nil, err
	}
	list, err := List(dir)
	if err != nil {
		return nil, err
	}
	for _, s := range p.removable(list) {
		gone, err := s.remove()
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, s)
		}
	}
	return removed, nil
}

// removable are those of a list, newest first, that the policy does not keep.
func (p Policy) removable(list []Stored) (out []Stored) {
	type database struct{ system, name string }
	newer := map[database]int{} // proven ones that were passed
	for _, s := range list {
		if s.State == Anonymous {
			continue
		}
		d := database{s.System, s.Database}
		if newer[d] >= max(p.Keep, 1) && (p.MaxAge <= 0 || p.Now.Sub(s.Started) > p.MaxAge) {
			out = append(out, s)
		}
		if s.State == Proven {
			newer[d]++
		}
	}
	return out
}

// remove removes the file and then its manifest, unless somebody reads it.
func (s Stored) remove() (gone bool, err error) {
	file, err := lockFile(s.File, os.O_RDONLY, syscall.LOCK_EX)
	switch {
	case errors.Is(err, errInUse):
		return false, nil
	case err == nil:
		defer file.Close()
	case !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("remove backup: %w", err)
	}
	for _, path := range []string{s.File, s.File + manifestSuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("remove backup: %w", err)
		}
	}
	return true, nil
}
