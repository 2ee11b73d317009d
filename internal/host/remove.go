package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// removeTree removes a directory and what is in it, directories without write permission included, on all cores: most
// steps end with the removal of their copy of node_modules, for which os.RemoveAll takes three times as long as making it.
//
// It does not follow links and gives no error: what cannot be removed is left for the next Prune.
func removeTree(dir string) {
	r := remover{limit: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	r.remove(dir)
	if _, err := os.Lstat(dir); err != nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, _ error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}

// remover removes directories, some at once.
type remover struct{ limit chan struct{} }

func (r *remover) remove(dir string) {
	var below sync.WaitGroup
	for _, name := range r.empty(dir) {
		path := dir + "/" + name
		select {
		case r.limit <- struct{}{}:
			below.Go(func() {
				defer func() { <-r.limit }()
				r.remove(path)
			})
		default:
			r.remove(path)
		}
	}
	below.Wait()
	_ = unix.Rmdir(dir)
}

// empty removes all of a directory but its directories, and returns their names.
func (r *remover) empty(dir string) (dirs []string) {
	file, err := os.OpenFile(dir, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	entries, _ := file.ReadDir(-1)
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, e.Name())
			continue
		}
		_ = unix.Unlinkat(int(file.Fd()), e.Name(), 0)
	}
	return dirs
}
