package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/internal/redact"
)

// commandGrace is the time a command has to end by itself when the run is canceled or its step's time is up.
const commandGrace = 2 * time.Second

// errTime is the cause of a step's context ending at its timeout.
var errTime = errors.New("timeout")

// sourceRoot is what the source root is called in logs and reports. The directory itself has a name that differs from
// run to run and is soon gone; this is what a container of the engine has there.
const sourceRoot = "/src"

// execution is the run of one step.
type execution struct {
	*Runner
	node     *node
	step     ci.Step
	source   *source
	layer    *layer
	inUse    bool // the layer outlives the execution
	tmp      string
	env      []string
	redactor redact.Redactor
	shared   []shared
	services []io.Closer
	result   *ci.Result
}

// begin runs the step, unless another run was making the same just now: then it takes that run's result.
func (e *execution) begin(ctx context.Context) {
	*e.result = ci.Result{Step: e.step, Started: time.Now()}
	making, err := lock(ctx, e.store.lockFile(e.node.key))
	switch {
	case err != nil && ctx.Err() != nil:
		e.result.Status, e.result.Err = ci.Canceled, canceled(ctx, e.step)
		return
	case err != nil:
		e.result.Status, e.result.Err = ci.Broken, fmt.Errorf("%s: %w", e.step.Name, explain(err, e.store.dir))
		return
	}
	defer making.remove()
	if e.decide(e.node); !e.node.execute {
		*e.result = e.node.record.result(e.step, time.Now())
		e.passed(e.node.key, e.node.record)
		return
	}
	e.result.Started = time.Now()
	if e.options.Observer != nil {
		e.options.Observer.StepStarted(e.step, e.result.Started)
	}
	e.run(ctx)
}

// run prepares the step's file system and environment, runs its commands, collects what they left and keeps it.
func (e *execution) run(ctx context.Context) {
	defer func() { e.result.Duration = time.Since(e.result.Started) }()
	timeout := e.step.Timeout
	if timeout <= 0 {
		timeout = ci.DefaultTimeout
	}
	within, cancel := context.WithTimeoutCause(ctx, timeout, errTime)
	defer cancel()

	var kept cappedLog
	lines := e.log.step(e.step.Name)
	err := e.prepare(within)
	if err == nil {
		out := e.redactor.Writer(io.MultiWriter(&kept, lines))
		err = e.commands(within, out)
		_ = out.Flush()
	}
	lines.close()
	e.result.Log = kept.bytes()
	e.result.Status = e.statusOf(ctx, within, timeout, err)
	e.recordings(ctx)
	e.collect()
	if e.result.Status == ci.Passed {
		e.keep()
	}
	if e.result.Err != nil { // an error of a tool may quote what it was given
		if text := e.result.Err.Error(); string(e.redactor.Bytes([]byte(text))) != text {
			e.result.Err = errors.New(string(e.redactor.Bytes([]byte(text))))
		}
	}
}

// statusOf says how the step ended, and why in the result.
func (e *execution) statusOf(ctx, within context.Context, timeout time.Duration, err error) ci.Status {
	var exit *process.ExitError
	switch {
	case err == nil:
		return ci.Passed
	case ctx.Err() != nil:
		e.result.Err = canceled(ctx, e.step)
		return ci.Canceled
	case within.Err() != nil:
		doing := "before its first command"
		if e.result.Command != nil {
			doing = fmt.Sprintf("in %q", commandLine(e.result.Command))
		}
		e.result.Err = fmt.Errorf("%s: stopped after %s, which is its timeout, %s; what it printed until then is in its log",
			e.step.Name, timeout, doing)
		return ci.TimedOut
	case errors.As(err, &exit) && full(e.store.dir):
		e.result.Err = fmt.Errorf("%s: %q failed, and the disk that holds %s is full: make room there, remove that directory, or choose another one",
			e.step.Name, commandLine(e.result.Command), e.store.dir)
		return ci.Broken
	case errors.As(err, &exit):
		e.result.ExitCode = exit.Code
		e.result.Err = fmt.Errorf("%s: %q: %s", e.step.Name, commandLine(e.result.Command), how(exit))
		return ci.Failed
	default:
		e.result.Err = fmt.Errorf("%s: %w", e.step.Name, explain(err, e.store.dir))
		return ci.Broken
	}
}

// how says how a command ended.
func how(exit *process.ExitError) string {
	if exit.Signal == 9 {
		return "killed by signal 9; if nobody killed it, the system was out of memory: run fewer steps at once"
	}
	if exit.Signal != 0 {
		return fmt.Sprintf("ended by signal %d (%v)", int(exit.Signal), exit.Signal)
	}
	return fmt.Sprintf("exit code %d", exit.Code)
}

// prepare makes everything that commands find when they start.
func (e *execution) prepare(ctx context.Context) error {
	layer, err := e.store.newLayer(e.node.key)
	if err != nil {
		return err
	}
	e.layer = layer
	if e.tmp, err = e.scratch.temp("step"); err != nil {
		return err
	}
	e.redactor.Replace("file://"+layer.tree(), sourceRoot)
	e.redactor.Replace(layer.tree(), sourceRoot)
	e.redactor.Replace(layer.home(), "~")
	e.redactor.Replace(e.tmp, "$TMPDIR")
	for _, password := range passedPasswords() {
		e.redactor.Secret(password)
	}
	if after := e.node.after; after != nil {
		if after.layer == nil {
			return fmt.Errorf("the file system of %s is gone; run again", after.step.Name)
		}
		if e.shared, err = cloneTree(after.layer.tree(), layer.tree()); err != nil {
			return err
		}
		if _, err = cloneTree(after.layer.home(), layer.home()); err != nil {
			return err
		}
	}
	if err := e.source.copyTo(ctx, e.node.inputs, layer.tree()); err != nil {
		return fmt.Errorf("copy inputs: %w", err)
	}
	if err := os.MkdirAll(e.dir(), 0o755); err != nil {
		return fmt.Errorf("make working directory: %w", err)
	}
	if e.env, err = e.stepEnv(e.step, e.dir(), layer.home(), e.tmp); err != nil {
		return err
	}
	for _, secret := range e.step.Secrets {
		value, err := ResolveSecret(ctx, secret.URI, e.Runner.source)
		if err != nil {
			return err
		}
		e.redactor.Secret(value)
		e.env = append(e.env, secret.Env+"="+value)
	}
	for _, service := range e.step.Services {
		url, server, err := e.startService(ctx, service, e.tmp)
		if err != nil {
			return fmt.Errorf("start %s: %w", service.Kind, err)
		}
		e.services = append(e.services, server)
		e.env = append(e.env, service.Env+"="+url)
	}
	return nil
}

// dir is the step's working directory. path.Clean keeps it in the tree, whatever the step says.
func (e *execution) dir() string {
	return filepath.Join(e.layer.tree(), filepath.FromSlash(path.Clean("/"+e.step.Dir)))
}

// commands runs the step's commands until one fails.
func (e *execution) commands(ctx context.Context, out io.Writer) error {
	for _, args := range e.step.Run {
		if len(args) == 0 {
			return errors.New("a command of the step is empty")
		}
		e.result.Command = args
		err := process.Run(ctx, process.Spec{
			Args: args, Dir: e.dir(), Env: e.env, Stdout: out, Stderr: out, Grace: commandGrace,
		})
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return missingProgram(args[0])
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w; no step before made it", err)
		case err != nil:
			return err
		}
	}
	e.result.Command = nil
	return nil
}

// cleanUp stops the step's servers and removes what is not kept.
func (e *execution) cleanUp() {
	for _, s := range e.services {
		_ = s.Close()
	}
	if e.tmp != "" {
		removeTree(e.tmp)
	}
	if e.layer != nil && !e.inUse {
		e.layer.remove()
	}
}

// commandLine is a command as a person would type it, roughly.
func commandLine(args []string) string {
	line := ""
	for i, a := range args {
		if i > 0 {
			line += " "
		}
		line += a
	}
	const most = 200
	if len(line) > most {
		line = line[:most] + "…"
	}
	return line
}
