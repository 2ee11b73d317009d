package host

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// scarce is how little free space makes a failing command's failure ours: a tool that cannot write says so in a hundred
// ways, or not at all.
const scarce = 1 << 20

// explain says what to do about an error in using a directory, where that can be said.
func explain(err error, dir string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; the disk that holds %s is full: make room there, remove that directory, or choose another one", err, dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w; %s is on a read-only file system: choose another directory", err, dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; %s must be writable for the user who runs the pipeline: change its owner, or choose another directory", err, dir)
	default:
		return err
	}
}

// full says whether the disk that holds a directory is full.
func full(dir string) bool {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return false
	}
	return s.Bavail*uint64(s.Bsize) < scarce
}
