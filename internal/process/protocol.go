package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
	"time"
)

// guardName is argv[0] of a guard. It is what tells a guard from the program itself: unlike an environment variable it
// cannot be inherited by what the guard starts.
const guardName = "pipeline-guard"

// The guard's file descriptors, after stdin, stdout and stderr, which are the program's.
const (
	ordersFD = 3 // read: a task, then orders; its end means that the parent is gone
	newsFD   = 4 // write: a report that the program runs, then one that it ended
	holdFD   = 5 // kept open, where a Spec has a Hold
)

// task is the first line a guard reads.
type task struct {
	Path       string
	Args       []string
	Dir        string
	Env        []string
	Credential *Credential
	StopSignal syscall.Signal
}

// order is each further line a guard reads: to stop what it holds.
type order struct{ Grace time.Duration }

// report is a line a guard writes.
type report struct {
	PID    int            `json:",omitempty"`
	Code   int            `json:",omitempty"`
	Signal syscall.Signal `json:",omitempty"`
	Error  string         `json:",omitempty"`
	Errno  syscall.Errno  `json:",omitempty"`
}

// readReport reads one line of news.
func readReport(r *bufio.Reader) (report, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return report{}, err
	}
	var got report
	if err := json.Unmarshal(line, &got); err != nil {
		return report{}, fmt.Errorf("read news of the guard: %w", err)
	}
	return got, nil
}

// err is the error that a guard reported, with its cause, so that errors.Is works on it.
func (r report) err() error {
	switch {
	case r.Errno == syscall.ENOENT:
		// The file was there a moment ago: it is its interpreter that is not, or a directory.
		return fmt.Errorf("%s: %w (the directory, or the interpreter that its first line names, does not exist)",
			r.Error, fs.ErrNotExist)
	case r.Errno == syscall.ENOEXEC:
		return fmt.Errorf("%s: %w", r.Error, &exec.Error{Name: "exec", Err: r.Errno})
	case r.Errno != 0:
		return fmt.Errorf("%s: %w", r.Error, r.Errno)
	default:
		return errors.New(r.Error)
	}
}
