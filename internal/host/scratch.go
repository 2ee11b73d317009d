package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// scratchPrefix begins the name of every scratch directory.
const scratchPrefix = "pipeline-run-"

// scratch is a directory for what is of no use to a later run: temporary files of commands and data of servers. It is in
// the system's temporary directory and not in the cache, since a server that runs as another user must reach its data,
// and since paths of sockets may only be a hundred bytes long.
type scratch struct {
	dir  string
	lock *fileLock
}

// newScratch makes a scratch directory and removes those that killed runs left.
func newScratch() (*scratch, error) {
	sweepScratch(os.TempDir())
	for {
		dir, err := os.MkdirTemp("", scratchPrefix)
		if err == nil {
			dir, err = filepath.EvalSymlinks(dir)
		}
		if err == nil {
			err = os.Chmod(dir, 0o711)
		}
		if err != nil {
			return nil, explain(fmt.Errorf("make scratch directory: %w", err), os.TempDir())
		}
		lock, err := tryLock(filepath.Join(dir, "lock"), true)
		if err == nil {
			return &scratch{dir, lock}, nil
		}
		if !errors.Is(err, errLocked) { // another run swept the directory before it was locked: make another one
			return nil, explain(fmt.Errorf("make scratch directory: %w", err), dir)
		}
	}
}

// temp makes a private directory.
func (s *scratch) temp(prefix string) (string, error) {
	dir, err := os.MkdirTemp(s.dir, prefix+"-")
	if err != nil {
		return "", explain(fmt.Errorf("make temporary directory: %w", err), s.dir)
	}
	return dir, nil
}

// close removes the directory.
func (s *scratch) close() error {
	removeTree(s.dir)
	s.lock.unlock()
	if _, err := os.Lstat(s.dir); err == nil {
		return fmt.Errorf("remove scratch directory %s: something in it could not be removed; remove it by hand", s.dir)
	}
	return nil
}

// sweepScratch removes the scratch directories of this user that no run holds.
func sweepScratch(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, scratchPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, "lock")); err != nil {
			continue // somebody else's, or about to be locked
		}
		lock, err := tryLock(filepath.Join(dir, "lock"), true)
		if err != nil {
			continue
		}
		removeTree(dir)
		lock.unlock()
	}
}
