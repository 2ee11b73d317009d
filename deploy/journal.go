package deploy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// FileJournal appends entries to a file, one JSON object a line, each on disk before Write returns.
type FileJournal struct{ file *os.File }

// OpenJournal opens or creates the journal file. It is readable by its owner only.
func OpenJournal(path string) (*FileJournal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &FileJournal{file: f}, nil
}

// Write appends the entry and syncs the file.
func (j *FileJournal) Write(_ context.Context, entry Entry) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("append to %s: %w", j.file.Name(), err)
	}
	return j.file.Sync()
}

// Close closes the file.
func (j *FileJournal) Close() error { return j.file.Close() }

// ReadJournal reads the entries of a journal. A last line that was cut off by a kill is left out: what it was about to
// say had not been done.
func ReadJournal(r io.Reader) ([]Entry, error) {
	var entries []Entry
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return entries, err
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return entries, fmt.Errorf("journal line %d: %w", n, err)
		}
		entries = append(entries, e)
	}
}
