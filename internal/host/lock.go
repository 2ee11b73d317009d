package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// lockInterval is the time between two looks at a lock that another run holds. flock(2) could wait by itself, but not
// with a context.
const lockInterval = 25 * time.Millisecond

// fileLock is an advisory lock on a file of the cache. The kernel lets go of it when the process ends, however it ends.
type fileLock struct{ file *os.File }

// errLocked says that another run, or another part of this one, holds the lock.
var errLocked = errors.New("in use")

// tryLock takes a lock, shared or exclusive, or gives errLocked.
func tryLock(path string, exclusive bool) (*fileLock, error) {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if err := flock(file, how); err != nil {
			file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Whoever held the lock before may have removed the file: then this is a lock on nothing.
		mine, err := file.Stat()
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return &fileLock{file}, nil
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			file.Close()
			return nil, fmt.Errorf("lock: %w", err)
		}
		file.Close()
	}
}

// lock waits for an exclusive lock.
func lock(ctx context.Context, path string) (*fileLock, error) {
	for {
		l, err := tryLock(path, true)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockInterval):
		}
	}
}

// share turns an exclusive lock into a shared one.
func (l *fileLock) share() error { return flock(l.file, syscall.LOCK_SH) }

// unlock lets go of the lock.
func (l *fileLock) unlock() { l.file.Close() }

// remove removes the file and lets go of the lock, which must be exclusive.
func (l *fileLock) remove() {
	_ = os.Remove(l.file.Name())
	l.file.Close()
}

func flock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
