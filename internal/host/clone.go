package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// cloneWorkers is how many directories are cloned at once for each core. Making a hard link mostly waits for the kernel.
const cloneWorkers = 4

// shared is a file that a clone has in common with its original, as it was when it was cloned.
type shared struct {
	path     string // in the original
	size     int64
	modified time.Time
}

// clone copies a tree so that it costs little: what a package manager installed is linked (a thousand small files cost
// 10 ms, and no space), everything else is copied, by reference where the file system can.
//
// A linked file that is written in place changes in the original too. Package managers and compilers replace files
// instead, so only what they installed is linked; changed tells afterwards whether some tool did write in place.
type clone struct {
	from, to string
	limit    chan struct{}
	wait     sync.WaitGroup

	mu     sync.Mutex
	shared []shared
	err    error
}

// cloneTree clones the tree at from to the existing directory to, and returns what the two have in common.
func cloneTree(from, to string) ([]shared, error) {
	c := &clone{from: from, to: to, limit: make(chan struct{}, cloneWorkers*runtime.GOMAXPROCS(0))}
	c.wait.Go(func() { c.dir("", place{}) })
	c.wait.Wait()
	if c.err != nil {
		return nil, fmt.Errorf("clone %s: %w", filepath.Base(filepath.Dir(from)), c.err)
	}
	return c.shared, nil
}

// changed returns the shared files that were written in place since they were cloned.
func changed(files []shared) []string {
	var found []string
	for _, f := range files {
		info, err := os.Lstat(f.path)
		if err == nil && (info.Size() != f.size || !info.ModTime().Equal(f.modified)) {
			found = append(found, f.path)
		}
	}
	return found
}

// place is what decides how the files of a directory are cloned.
type place struct {
	installed bool // below node_modules or site-packages
	venv      bool // below a Python virtual environment
	moved     bool // files here may name the original's path: bin/ of a virtual environment, *.pth of site-packages
}

// below is the place of a directory within this one.
func (p place) below(name, dir string) place {
	switch {
	case name == "node_modules", p.venv && name == "site-packages":
		p.installed = true
	case p.installed && strings.HasPrefix(name, ".") && name != ".bin" && name != ".pnpm":
		p.installed = false // node_modules/.cache, .vite and the like are written by tools
	}
	if _, err := os.Lstat(filepath.Join(dir, "pyvenv.cfg")); err == nil {
		p.venv = true
	}
	p.moved = p.venv && (name == "bin" || name == "site-packages")
	return p
}

// dir clones a directory, and those below it at the same time.
func (c *clone) dir(rel string, at place) {
	c.limit <- struct{}{}
	defer func() { <-c.limit }()
	from, to := filepath.Join(c.from, rel), filepath.Join(c.to, rel)
	entries, err := os.ReadDir(from)
	if err != nil {
		c.fail(err)
		return
	}
	var linked []shared
	for _, e := range entries {
		source, target := from+"/"+e.Name(), to+"/"+e.Name()
		switch {
		case e.IsDir():
			info, err := e.Info()
			if err == nil {
				err = os.Mkdir(target, info.Mode().Perm()|0o700)
			}
			if err != nil {
				c.fail(err)
				return
			}
			c.wait.Go(func() { c.dir(filepath.Join(rel, e.Name()), at.below(e.Name(), source)) })
			continue
		case e.Type() == fs.ModeSymlink:
			var link string
			if link, err = os.Readlink(source); err == nil {
				if inside, ok := strings.CutPrefix(link, c.from+"/"); ok {
					link = c.to + "/" + inside
				}
				err = os.Symlink(link, target)
			}
		case e.Type().IsRegular():
			var file *shared
			if file, err = c.file(source, target, e, at); file != nil {
				linked = append(linked, *file)
			}
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
	c.mu.Lock()
	c.shared = append(c.shared, linked...)
	c.mu.Unlock()
}

// file clones a regular file. It returns a record of it where it is now shared.
func (c *clone) file(source, target string, e fs.DirEntry, at place) (*shared, error) {
	info, err := e.Info()
	if err != nil {
		return nil, err
	}
	if at.moved || at.venv && e.Name() == "pyvenv.cfg" {
		if done, err := relocate(source, target, info, c.from, c.to); done || err != nil {
			return nil, err
		}
	}
	if at.installed {
		if os.Link(source, target) == nil {
			return &shared{source, info.Size(), info.ModTime()}, nil
		}
		// Too many links, another file system, one without links: a copy does.
	}
	return nil, copyFile(source, target, info)
}

func (c *clone) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

// copyFile copies a regular file with its mode and time. On Linux io.Copy lets the kernel do it (copy_file_range), which
// makes a reference instead of a copy where the file system can (btrfs, XFS).
func copyFile(source, target string, info fs.FileInfo) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err == nil && info.Mode().Perm()&0o200 == 0 {
		err = os.Chmod(target, info.Mode().Perm())
	}
	if err == nil {
		err = os.Chtimes(target, info.ModTime(), info.ModTime())
	}
	return err
}
