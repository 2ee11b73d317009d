package deploy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Journal remembers what a deployment is about to do. Write must be durable when it returns.
type Journal interface {
	// Write writes a transition before it is done. An error that is a LostError says that somebody else may be at work.
	Write(ctx context.Context, entry Entry) error
}

// Entry is a transition, written before it is done. Slot and Release are those that the step is about: of RollingBack what
// traffic goes back to, and of an end (Done, RolledBack, Failed) what serves since, if anything.
type Entry struct {
	Deployment string    `json:"deployment"`
	At         time.Time `json:"at"`
	State      State     `json:"state"`
	Slot       Slot      `json:"slot,omitempty"`
	Release    string    `json:"release"`
	Detail     string    `json:"detail,omitempty"`
}

// LostError is what an error of a Journal or a Store is, found by errors.As, or the cause of a context, when the deployment
// doesn't hold its environment's lock any more. It stops at once then, and cleans up nothing: what is there may be
// somebody else's.
type LostError interface {
	error
	LockLost() bool
}

// lost says whether the lock is lost.
func lost(ctx context.Context, err error) bool {
	var l LostError
	return errors.As(err, &l) && l.LockLost() || ctx.Err() != nil && errors.As(context.Cause(ctx), &l) && l.LockLost()
}

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
