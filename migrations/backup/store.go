package backup

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// The names of a store's files:
//
//	backup-ID.dump          a backup, or backup-ID.dump.age where it is encrypted
//	backup-ID.dump.json     its manifest
//	….part                  a file that is being written; its writer holds a lock on it
const (
	filePrefix     = "backup-"
	fileSuffix     = ".dump"
	encrypted      = ".age"
	manifestSuffix = ".json"
	partSuffix     = ".part"
	workPrefix     = "pipeline-backup-"
)

// fileName matches the backups of a store. What else is in the directory is not ours.
var fileName = regexp.MustCompile(`^backup-(\d{8}T\d{6}Z-[a-z0-9]{8})\.dump(\.age)?$`)

// newID names a backup by its time and chance.
func newID(now time.Time) string {
	return now.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:8])
}

// openStore makes the directory of backups, and removes what runs that were killed left half written in it.
func openStore(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory for backups: %w", err)
	}
	return sweepStore(dir)
}

// sweepStore removes the half-written files that nobody writes any more.
func sweepStore(dir string) error {
	left, err := filepath.Glob(filepath.Join(escape(dir), filePrefix+"*"+partSuffix))
	if err != nil {
		return fmt.Errorf("look for half-written backups: %w", err)
	}
	for _, path := range left {
		if file, err := lockFile(path, os.O_RDWR, syscall.LOCK_EX); err == nil { // nobody writes it
			_ = os.Remove(path)
			_ = file.Close()
		}
	}
	return nil
}

// escape makes a pattern of a directory that matches it alone.
func escape(dir string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(dir, `\$0`)
}

// errInUse: another process holds the file's lock.
var errInUse = errors.New("in use")

// lockFile opens a file and locks it, shared or not (flock(2)). The kernel lets go of the lock when the process ends, however it ends.
func lockFile(path string, flags, how int) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB); err != nil {
			_ = file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errInUse
			}
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			return nil, err
		}
		// Whoever swept the directory may have removed the file before it was locked.
		mine, err := file.Stat()
		if there, err2 := os.Lstat(path); err == nil && err2 == nil && os.SameFile(mine, there) {
			return file, nil
		}
		_ = file.Close()
		if flags&os.O_CREATE == 0 {
			return nil, fs.ErrNotExist
		}
	}
}

// part is a file that has its name only once it is whole.
type part struct {
	*os.File
	name string
}

// newPart begins a file, readable by its owner alone.
func newPart(name string) (*part, error) {
	file, err := lockFile(name+partSuffix, os.O_CREATE|os.O_RDWR, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(0); err != nil { // of a run that was killed
		return nil, err
	}
	return &part{file, name}, nil
}

// finish gives the file its name, once its content and its name are on the disk.
func (p *part) finish() error {
	err := p.Sync()
	if err == nil {
		err = os.Rename(p.Name(), p.name)
	}
	if err != nil {
		p.discard()
		return err
	}
	defer p.Close()
	dir, err := os.Open(filepath.Dir(p.name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// discard removes the file.
func (p *part) discard() {
	_ = os.Remove(p.Name())
	_ = p.Close()
}

// workdir is a directory for what lives as long as a run: dumps in the clear. It is readable by its owner alone.
type workdir struct {
	path string
	lock *os.File
}

// newWorkdir makes one, and removes those of this user whose runs were killed.
func newWorkdir(parent string) (*workdir, error) {
	parent = cmp.Or(parent, os.TempDir())
	left, _ := filepath.Glob(filepath.Join(escape(parent), workPrefix+"*"))
	for _, path := range left {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() {
			continue
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
			continue
		}
		if lock, err := lockFile(filepath.Join(path, "lock"), os.O_RDWR, syscall.LOCK_EX); err == nil {
			_ = os.RemoveAll(path)
			_ = lock.Close()
		}
	}
	for {
		path, err := os.MkdirTemp(parent, workPrefix) // with mode 0700
		if err != nil {
			return nil, fmt.Errorf("make directory for the proof: %w", err)
		}
		lock, err := lockFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, syscall.LOCK_EX)
		if err == nil {
			return &workdir{path, lock}, nil
		}
		if !errors.Is(err, errInUse) && !errors.Is(err, fs.ErrNotExist) { // another run swept it before it was locked
			return nil, fmt.Errorf("make directory for the proof: %w", err)
		}
	}
}

func (w *workdir) remove() {
	_ = os.RemoveAll(w.path)
	_ = w.lock.Close()
}

// full explains that a disk is full, where that is what an error says.
func full(err error, dir string, written, tables int64) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	return fmt.Errorf("%w: the disk that holds %s is full after %d bytes of the backup, and it may need up to %d (the size of the tables): "+
		"make room there, or choose another directory", err, dir, written, tables)
}
