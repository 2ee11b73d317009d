package haproxy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Prepare writes the files that HAProxy starts with: what it served last, or nothing where it is new. The configuration is
// written anew, so that other options count from the next start on.
func Prepare(options Options) error {
	options = options.orDefaults()
	if err := options.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return fmt.Errorf("prepare HAProxy: %w", err)
	}
	t, err := load(options)
	if err == nil {
		err = options.checkRules(t.Routing)
	}
	var entries []entry
	if err == nil {
		entries, err = t.entries(options)
	}
	if err == nil {
		err = write(options, t, entries)
	}
	if err != nil {
		return fmt.Errorf("prepare HAProxy: %w", err)
	}
	return nil
}

// load reads the table from disk. One that cannot be read is an error: to start empty would drop all traffic.
func load(options Options) (*table, error) {
	path := filepath.Join(options.Dir, mapFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return newTable(), nil
	}
	if err != nil {
		return nil, err
	}
	entries := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		entries[key] = value
	}
	t, err := remember(entries, options.Components)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; move the file away to start without slots", path, err)
	}
	return t, nil
}

// write replaces configuration and table on disk, each whole. Between the two, a HAProxy that is started without Prepare has
// the table of before, in which no traffic goes to a slot whose addresses change.
func write(options Options, t *table, entries []entry) error {
	config, err := configuration(options, t)
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(options.Dir, ConfigurationFile), config); err != nil {
		return err
	}
	return replaceFile(filepath.Join(options.Dir, mapFile), text(entries))
}

// replaceFile is for its owner only: the files say where the application listens. A file that has the content already is
// left alone.
func replaceFile(path, content string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // created with 0600
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name()) // fails once renamed
	_, err = temporary.WriteString(content)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // makes the rename durable
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
