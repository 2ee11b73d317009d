package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// errServed says that another supervisor holds the environment and answers.
var errServed = errors.New("another supervisor answers")

// lockInterval is the time between two looks at a lock that another process holds. flock(2) could wait by itself, but not
// with a context, nor see meanwhile whether the other one serves.
const lockInterval = 25 * time.Millisecond

// lockPatience bounds the wait for the processes of a supervisor that was killed. They have a second to end and are killed
// then; what the kernel cannot kill for so long, as on a network file system that hangs, is a matter for a person.
const lockPatience = 30 * time.Second

// acquire makes the directory and takes its lock, which says that no process of an earlier supervisor is left.
func acquire(ctx context.Context, dir string) (*os.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, fmt.Errorf(
		"processes of an earlier supervisor are still there after %s; see `fuser %s`", lockPatience, filepath.Join(dir, lockFile)))
	defer cancel()
	for {
		file, err := tryLock(dir)
		if err != nil || file != nil {
			return file, err
		}
		if answers(ctx, dir) {
			return nil, errServed
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockInterval):
		}
	}
}

// tryLock returns nil where another process holds the lock.
func tryLock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, lockFile)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it is being removed
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
			return nil, nil
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Who held it before may have removed the file: then this is a lock on nothing.
	mine, err := file.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && os.SameFile(mine, there) {
			return file, nil
		}
	}
	_ = file.Close()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return nil, nil
}

// answers says whether somebody accepts connections on the control socket.
func answers(ctx context.Context, dir string) bool {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", filepath.Join(dir, socketFile))
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}
