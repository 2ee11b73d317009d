package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// source is the list of files that the steps of one run may see. It is made once a run, so that all steps see the same.
type source struct {
	root    string
	entries []*entry // sorted by path
	matched map[string][]*entry
}

// entry is a regular file or a symbolic link. Directories are made as files need them; sockets, pipes and devices are no
// source.
type entry struct {
	path     string // slash-separated, relative to the root
	link     string // target of a symbolic link
	isLink   bool
	exec     bool // whether anybody may execute it; the other permissions differ between checkouts
	modified time.Time

	hash sync.Once
	sum  [sha256.Size]byte
	err  error
}

// scan lists the files that at least one of the pattern lists may match. Directories that none can match are not read:
// a checkout's own node_modules has more files than everything else.
func scan(root string, skip string, patterns [][]string) (*source, error) {
	for _, list := range patterns {
		for _, pattern := range list {
			if !doublestar.ValidatePattern(strings.TrimPrefix(pattern, "!")) {
				return nil, fmt.Errorf("input pattern %q is malformed", pattern)
			}
		}
	}
	s := &source{root: root, matched: map[string][]*entry{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if path == root {
			return err
		}
		rel := filepath.ToSlash(path[len(strings.TrimSuffix(root, "/"))+1:])
		wanted := slices.ContainsFunc(patterns, func(list []string) bool {
			if d.IsDir() {
				return mayHold(list, rel)
			}
			return matches(list, rel)
		})
		switch {
		case !wanted && d.IsDir(), path == skip:
			return fs.SkipDir
		case !wanted:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed while we looked
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		e := &entry{path: rel, modified: info.ModTime(), exec: info.Mode()&0o111 != 0}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			e.isLink, e.exec = true, false
			if e.link, err = os.Readlink(path); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			return nil
		}
		s.entries = append(s.entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read source: %w; the user who runs the pipeline must be able to read it", err)
	}
	return s, nil
}

// files are the entries that a list of patterns matches, with their content hashed.
func (s *source) files(patterns []string) []*entry {
	id := strings.Join(patterns, "\x00")
	if found, ok := s.matched[id]; ok {
		return found
	}
	var found []*entry
	for _, e := range s.entries {
		if matches(patterns, e.path) {
			found = append(found, e)
		}
	}
	s.matched[id] = found
	s.read(found)
	return found
}

// read hashes the content of entries, on all cores.
func (s *source) read(entries []*entry) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(entries)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(entries)); i = next.Add(1) - 1 {
				e := entries[i]
				e.hash.Do(func() { e.sum, e.err = s.digest(e) })
			}
		})
	}
	wait.Wait()
}

func (s *source) digest(e *entry) (sum [sha256.Size]byte, err error) {
	if e.isLink {
		return sha256.Sum256([]byte(e.link)), nil
	}
	file, err := os.Open(filepath.Join(s.root, e.path))
	if err != nil {
		return sum, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// copyTo copies entries into a tree, on all cores. Their content must still be what was hashed: the key of the result says
// so. Nothing is written outside of the tree, whatever links a step before left in it.
func (s *source) copyTo(ctx context.Context, entries []*entry, tree string) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	var errs [64]error
	var next atomic.Int64
	var wait sync.WaitGroup
	for worker := range min(runtime.GOMAXPROCS(0), len(entries), len(errs)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(entries)) && errs[worker] == nil; i = next.Add(1) - 1 {
				if errs[worker] = ctx.Err(); errs[worker] == nil {
					errs[worker] = s.copyOne(entries[i], root)
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs[:]...)
}

func (s *source) copyOne(e *entry, tree *os.Root) error {
	name := filepath.FromSlash(e.path)
	if err := tree.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := tree.RemoveAll(name); err != nil {
		return err // what the step before left is replaced, not written through a hard link
	}
	if e.isLink {
		return tree.Symlink(e.link, name)
	}
	in, err := os.Open(filepath.Join(s.root, name))
	if err != nil {
		return err
	}
	defer in.Close()
	mode := fs.FileMode(0o644)
	if e.exec {
		mode = 0o755
	}
	out, err := tree.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, hash), in)
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != e.sum {
		return fmt.Errorf("%s was changed while the pipeline was reading it; run it again", e.path)
	}
	return tree.Chtimes(name, e.modified, e.modified)
}

// matches says whether patterns take a path in. The last one that matches decides; "!" takes out.
func matches(patterns []string, path string) bool {
	for _, pattern := range slices.Backward(patterns) {
		bare, out := strings.CutPrefix(pattern, "!")
		if doublestar.MatchUnvalidated(bare, path) {
			return !out
		}
	}
	return false
}

// mayHold says whether patterns may take in anything below a directory.
func mayHold(patterns []string, dir string) bool {
	may := false
	for _, pattern := range patterns {
		bare, out := strings.CutPrefix(pattern, "!")
		switch {
		case !out:
			may = may || reaches(bare, dir)
		case strings.HasSuffix(bare, "/**") && doublestar.MatchUnvalidated(bare, dir):
			may = false // the directory and all below
		}
	}
	return may
}

// reaches says whether a pattern could match below a directory. It errs on the side of yes.
func reaches(pattern, dir string) bool {
	if strings.ContainsRune(pattern, '{') {
		return true // alternatives may hold slashes
	}
	parts := strings.Split(pattern, "/")
	names := strings.Split(dir, "/")
	for i, name := range names {
		if i >= len(parts)-1 && (i >= len(parts) || parts[i] != "**") {
			return false // the pattern ends at or above the directory
		}
		if parts[i] == "**" {
			return true
		}
		if !doublestar.MatchUnvalidated(parts[i], name) {
			return false
		}
	}
	return true
}
