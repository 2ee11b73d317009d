// Package process starts programs that never outlive the program that started them, however it ends: by returning, by a
// canceled context, by Ctrl-C or by SIGKILL. Every command, service and slot that the pipeline runs on a host goes
// through it, since a forgotten server holds a port, a lock or a gigabyte of somebody's laptop.
//
// A deferred Kill does not run after SIGKILL, a process group does not hold what called setsid, and npm starts a shell
// that starts node. So each program gets a guard: this same executable, started again (see guard.go), that holds one end
// of a pipe. When the pipe closes, for whatever reason, the guard ends everything below it and then itself.
//
// The one way out is to kill the guard itself: the program and what is in its session end with it, a descendant in a
// session of its own does not.
//
// The package works from any binary that imports it, test binaries included, on Linux and, with process groups only
// (a descendant that calls setsid escapes), on macOS and other Unix systems.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Defaults of a Spec.
const (
	DefaultGrace      = 5 * time.Second
	DefaultStopSignal = syscall.SIGTERM
)

// pipeDelay bounds the wait for Stdin, Stdout and Stderr after the tree has ended: a reader may never end, a writer may
// hang, and, other than on Linux, a descendant that escaped its process group may hold a pipe open.
const pipeDelay = 10 * time.Second

// A Spec says what to run.
type Spec struct {
	// Args is the command line. The first word is a program: a path where it has a slash (relative to Dir), otherwise it
	// is looked up in the PATH of Env. Command lines are visible to every user of the machine: no secrets here.
	Args []string
	Dir  string
	// Env is the whole environment, as "NAME=value"; of two values of one variable the last counts. Nil means that of this
	// process.
	Env []string
	// Credential makes the program run as another user. Only root can.
	Credential *Credential
	// Stdin is empty where nil. An *os.File is handed over as it is, anything else is copied through a pipe.
	Stdin io.Reader
	// Stdout and Stderr are discarded where nil. When they are the same writer, it is not written to concurrently.
	Stdout, Stderr io.Writer
	// Grace is the time between the stop signal and SIGKILL when the context ends. Zero means DefaultGrace.
	Grace time.Duration
	// StopSignal asks the program to end. Zero means DefaultStopSignal. PostgreSQL wants SIGINT or SIGQUIT.
	StopSignal syscall.Signal
	// Hold is kept open by the guard, not by the program, until the last process of the tree has ended, also where this
	// process is gone by then: a lock on it (flock(2)) says whether anything of a killed process still runs.
	Hold *os.File
}

// Credential is the user that a program runs as.
type Credential struct{ UID, GID uint32 }

// ExitError says how a program ended that did not end with exit code 0.
type ExitError struct {
	Program string
	Code    int            // as a shell has it: 128 + the signal's number where it was killed by one
	Signal  syscall.Signal // 0 where it ended by itself
}

func (e *ExitError) Error() string {
	if e.Signal != 0 {
		return fmt.Sprintf("%s was ended by signal %d (%v)", e.Program, int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
}

// Process is a running program and everything it started.
type Process struct {
	pid     int
	guard   int // its process id
	program string
	spec    Spec
	done    chan struct{}

	mu      sync.Mutex
	control io.WriteCloser // nil once the guard has ended

	// Written before done is closed.
	code int
	err  error
}

// Start starts a program. When ctx ends, the program is stopped as by Stop with the Spec's Grace.
//
// A program that is not there gives an error that wraps exec.ErrNotFound (no slash, not on PATH) or fs.ErrNotExist.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if len(spec.Args) == 0 {
		return nil, errors.New("start process: no program given")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Args[0], context.Cause(ctx))
	}
	if spec.Env == nil {
		spec.Env = os.Environ()
	}
	spec.Env = lastOfEach(spec.Env)
	if spec.Grace == 0 {
		spec.Grace = DefaultGrace
	}
	if spec.StopSignal == 0 {
		spec.StopSignal = DefaultStopSignal
	}
	path, err := LookPath(spec.Args[0], spec.Dir, spec.Env)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Args[0], err)
	}
	p := &Process{program: spec.Args[0], spec: spec, done: make(chan struct{})}
	if err := p.start(path); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Args[0], err)
	}
	forget := context.AfterFunc(ctx, func() { p.stop(order{Grace: spec.Grace}) })
	go func() {
		<-p.done
		forget()
	}()
	return p, nil
}

// Run runs a program to its end and returns what Wait does, or why it could not be started.
func Run(ctx context.Context, spec Spec) error {
	p, err := Start(ctx, spec)
	if err != nil {
		return err
	}
	err = p.Wait()
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// start starts the guard, hands it the program over a pipe and waits until the guard says that it runs. The environment
// goes through the pipe too, so that it is only ever that of the program itself.
func (p *Process) start(path string) error {
	orders, control, err := os.Pipe()
	if err != nil {
		return err
	}
	defer orders.Close()
	news, tell, err := os.Pipe()
	if err != nil {
		control.Close()
		return err
	}
	defer tell.Close()

	self, err := executable()
	if err != nil {
		control.Close()
		news.Close()
		return err
	}
	guard := &exec.Cmd{
		Path: self,
		// The program's name is for people who read the process list; its arguments are in the list once already.
		Args:        []string{guardName, p.program},
		Env:         guardEnv(),
		Stdin:       p.spec.Stdin,
		Stdout:      p.spec.Stdout,
		Stderr:      p.spec.Stderr,
		ExtraFiles:  []*os.File{orders, tell},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // Ctrl-C goes to us, and we decide in which order things end
		WaitDelay:   pipeDelay,
	}
	if p.spec.Hold != nil {
		guard.ExtraFiles = append(guard.ExtraFiles, p.spec.Hold)
	}
	if err := guard.Start(); err != nil {
		control.Close()
		news.Close()
		return fmt.Errorf("start its guard: %w", err)
	}
	tell.Close()
	p.control = control
	err = json.NewEncoder(control).Encode(task{
		Path: path, Args: p.spec.Args, Dir: p.spec.Dir, Env: p.spec.Env, Credential: p.spec.Credential,
		StopSignal: p.spec.StopSignal,
	})
	heard := bufio.NewReader(news)
	var first report
	if err == nil {
		first, err = readReport(heard)
	}
	if err == nil && first.Error != "" {
		err = first.err()
	}
	if err != nil {
		control.Close()
		news.Close()
		if waited := guard.Wait(); waited != nil && first.Error == "" {
			err = fmt.Errorf("its guard ended early: %w", waited)
		}
		return err
	}
	p.pid, p.guard = first.PID, guard.Process.Pid
	go p.await(guard, news, heard)
	return nil
}

// await waits for the end of the tree and keeps how the program ended.
func (p *Process) await(guard *exec.Cmd, news io.Closer, heard *bufio.Reader) {
	last, lastErr := readReport(heard)
	waitErr := guard.Wait()
	news.Close()
	p.mu.Lock()
	p.control.Close()
	p.control = nil
	p.mu.Unlock()

	switch {
	case lastErr != nil:
		// The guard was killed. The kernel has ended the program with it (see Pdeathsig in guard.go); what else was in
		// its session ends here.
		killSession(guard.Process.Pid)
		p.code = 128 + int(syscall.SIGKILL)
		p.err = fmt.Errorf("guard of %s was killed: %w", p.program, waitErr)
	case last.Signal != 0:
		p.code = 128 + int(last.Signal)
		p.err = &ExitError{Program: p.program, Code: p.code, Signal: last.Signal}
	case last.Code != 0:
		p.code = last.Code
		p.err = &ExitError{Program: p.program, Code: p.code}
	case waitErr != nil:
		// What it read or wrote did not all pass, as when the disk is full that its output goes to.
		p.err = fmt.Errorf("pass on what %s reads and writes: %w", p.program, waitErr)
	}
	close(p.done)
}

// PID is the program's process id.
func (p *Process) PID() int { return p.pid }

// Done is closed when the program and everything it started have ended and all output has been written.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done. It returns nil for exit code 0, an *ExitError for another, and another error where Stdin, Stdout or
// Stderr failed or the guard was killed.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// ExitCode is the exit code once Done is closed, -1 before. After a signal it is 128 plus the signal's number.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.code
	default:
		return -1
	}
}

// Stop ends the program and everything it started, and returns when all of it is gone.
//
// The stop signal goes to the program first, since well-behaved supervisors (npm, uvicorn, a shell with a trap) pass it
// on and a server that gets it twice may take the second for "at once". What is left when the program has ended, or
// after half of the grace, gets the signal directly; what is left after the grace gets SIGKILL. A grace of 0 kills.
//
// The error is ctx's: the tree is then killed without waiting for the rest of the grace, and Done tells when it is gone.
// How the program ended is what Wait says.
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	p.stop(order{Grace: grace})
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.stop(order{})
		return fmt.Errorf("stop %s: %w", p.program, context.Cause(ctx))
	}
}

// stop gives the guard an order to stop. A guard that is gone needs none.
func (p *Process) stop(o order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control != nil {
		_ = json.NewEncoder(p.control).Encode(o)
	}
}

// guardEnv is the environment of the guard: nothing of ours, no secrets, and a small runtime. With the race detector a
// program sleeps for a second before it ends; a guard has no use for that.
func guardEnv() []string {
	env := []string{"GOMAXPROCS=2", "GOTRACEBACK=none", "GORACE=atexit_sleep_ms=0"}
	for _, name := range []string{"GOCOVERDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// lastOfEach leaves the last value of each variable: of two, some programs read the first and some the last.
func lastOfEach(env []string) []string {
	seen := make(map[string]bool, len(env))
	kept := make([]string, 0, len(env))
	for _, variable := range slices.Backward(env) {
		name, _, _ := strings.Cut(variable, "=")
		if !seen[name] {
			seen[name] = true
			kept = append(kept, variable)
		}
	}
	slices.Reverse(kept)
	return kept
}

// lookupEnv returns a variable of an environment; the last one counts.
func lookupEnv(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}
