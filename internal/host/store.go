package host

import (
	"fmt"
	"os"
	"path/filepath"
)

// store is the cache directory.
//
//	layers/<layer>/   file systems of steps: tree/, home/ and the marker that it is complete
//	records/<key>     results of steps that passed
//	locks/            one lock file for each layer in use and each key being made
//	caches/<key>/     caches of the tools (ci.Cache)
//	postgres/         initialised clusters, one for each version
//
// It belongs to the user alone (mode 0700): layers are run from, and source code is in them.
type store struct{ dir string }

// openStore makes the cache directory where it is not there. Empty means the default.
func openStore(dir string) (*store, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the cache directory: %w; set HOME or XDG_CACHE_HOME, or choose a directory", err)
		}
		dir = filepath.Join(user, "pipeline")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the cache directory: %w", err)
	}
	for _, sub := range []string{"", "layers", "records", "locks", "caches", "postgres"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, explain(fmt.Errorf("make cache directory: %w", err), dir)
		}
	}
	// Programs see the directory under its real name (pwd, __file__), and it is taken out of what they print.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("make cache directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make cache directory: %w; it must belong to the user who runs the pipeline: choose another directory", err)
	}
	probe, err := os.CreateTemp(filepath.Join(dir, "locks"), "probe-")
	if err != nil {
		return nil, explain(fmt.Errorf("write cache directory: %w", err), dir)
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	if _, err := probe.Write(make([]byte, 4096)); err != nil {
		return nil, explain(fmt.Errorf("write cache directory: %w", err), dir)
	}
	return &store{dir}, nil
}

func (s *store) layerDir(name string) string  { return filepath.Join(s.dir, "layers", name) }
func (s *store) lockFile(name string) string  { return filepath.Join(s.dir, "locks", name) }
func (s *store) recordFile(key string) string { return filepath.Join(s.dir, "records", key) }

// cacheDir is the directory of a tool's cache, made where it is not there.
func (s *store) cacheDir(key string) (string, error) {
	dir := filepath.Join(s.dir, "caches", fileName(key))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", explain(fmt.Errorf("make cache %s: %w", key, err), s.dir)
	}
	return dir, nil
}

// fileName makes a file name of any name.
func fileName(name string) string {
	safe := []byte(name)
	for i, c := range safe {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			safe[i] = '_'
		}
	}
	return string(safe)
}
