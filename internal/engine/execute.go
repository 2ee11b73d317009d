package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"time"

	telemetry "github.com/dagger/otel-go"
	"go.opentelemetry.io/otel"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/driver"
	"github.com/metaextract/pipeline/internal/redact"
)

const (
	// serviceStart is how long the services of a step may take to start beyond the step's own timeout: the script in the
	// container stops the commands, and this only a step whose commands never began.
	serviceStart = time.Minute
	// mostAttempts bounds the search for a result that the engine has not seen fail; see execution.attempts.
	mostAttempts = 100
	// tracer names the spans by which the engine's progress groups what belongs to a step.
	tracer = "github.com/metaextract/pipeline"
)

// execution is the run of one step.
type execution struct {
	*Runner
	node    *node
	step    ci.Step
	started time.Time
	redact  redact.Redactor
}

// execute runs a step and gives its node the result.
func (r *Runner) execute(ctx context.Context, n *node) {
	e := &execution{Runner: r, node: n, step: n.step, started: time.Now()}
	if r.options.Observer != nil {
		r.options.Observer.StepStarted(n.step, e.started)
	}
	n.result = ci.Result{Step: n.step, Started: e.started}
	ctx, span := otel.Tracer(tracer).Start(ctx, n.step.Name)
	defer func() { telemetry.EndWithCause(span, &n.result.Err) }()
	outcome, err := e.attempts(ctx)
	if err != nil {
		n.result.Status = ci.Broken
		if ctx.Err() != nil {
			n.result.Status, err = ci.Canceled, context.Cause(ctx)
		} else if errors.Is(err, context.DeadlineExceeded) {
			n.result.Status = ci.TimedOut
		}
		n.result.Err = errors.New(string(e.redact.Bytes([]byte(fmt.Sprintf("%s: %v", n.step.Name, err)))))
	} else {
		e.conclude(outcome)
	}
	if n.result.Cached = err == nil && e.cached(outcome); !n.result.Cached {
		n.result.Duration = time.Since(e.started)
	}
}

// cached says whether the engine took the outcome from its cache. The container notes when it began; the clock is the
// same, as the functions of a module run on the engine's machine.
func (e *execution) cached(o driver.Outcome) bool { return o.Began.Before(e.options.Since) }

// attempts runs the step until its outcome is one to believe. The engine remembers what failed, too, but the failure may
// have been the network's, so a remembered failure is run again. What makes it another run for the engine is when the one
// before began: so the next run finds the same way, to the first attempt that passed.
func (e *execution) attempts(ctx context.Context) (driver.Outcome, error) {
	attempt := e.nonce
	for n := 1; ; n++ {
		outcome, err := e.attempt(ctx, attempt)
		if err != nil || outcome.Status == ci.Passed || !e.cached(outcome) || n == mostAttempts {
			return outcome, err
		}
		attempt = strconv.FormatInt(outcome.Began.UnixNano(), 36)
	}
}

// attempt runs the step once, or takes it from the engine's cache.
func (e *execution) attempt(ctx context.Context, attempt string) (driver.Outcome, error) {
	arguments, err := driver.Arguments(e.step, attempt)
	if err != nil {
		return driver.Outcome{}, err
	}
	base, err := toolBase(e.options.Client, e.step.Tool).Sync(ctx)
	if err != nil {
		return driver.Outcome{}, fmt.Errorf("prepare image %s: %w", e.step.Tool.Image, err)
	}
	timeout := e.step.Timeout
	if timeout <= 0 {
		timeout = ci.DefaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout+serviceStart, fmt.Errorf("stopped after %s, which is its timeout, and a minute for its services: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	container, err := e.prepare(ctx, base, attempt)
	if err != nil {
		return driver.Outcome{}, err
	}
	// Any exit code is an answer, so that log and reports of a failure can be read.
	container = container.WithExec(arguments, dagger.ContainerWithExecOpts{Expect: dagger.ReturnTypeAny})
	outcome, err := e.read(ctx, container)
	if err != nil && ctx.Err() != nil {
		return outcome, context.Cause(ctx)
	}
	e.node.container = container
	return outcome, err
}

// prepare makes everything that the commands find when they start, out of the base of the step's tool.
func (e *execution) prepare(ctx context.Context, base *dagger.Container, attempt string) (*dagger.Container, error) {
	container := base
	if after := e.node.after; after != nil { // its files, and not its environment and secrets
		container = container.WithRootfs(after.container.Rootfs())
	}
	if len(e.step.Inputs) > 0 {
		container = container.WithDirectory(driver.SourceRoot, inputs(e.options.Source, e.step))
	}
	for _, cache := range e.step.Caches {
		at := path.Join("/caches", cache.Key)
		container = container.WithMountedCache(at, e.options.Client.CacheVolume("pipeline-"+cache.Key)).WithEnvVariable(cache.Env, at)
	}
	container = withEnv(container, e.step.Env)
	for i := range e.step.Path {
		first := path.Join(driver.SourceRoot, e.step.Dir, e.step.Path[len(e.step.Path)-1-i])
		container = container.WithEnvVariable("PATH", first+":${PATH}", dagger.ContainerWithEnvVariableOpts{Expand: true})
	}
	container, err := e.withSecrets(ctx, container)
	if err != nil {
		return nil, err
	}
	return e.withServices(ctx, container, attempt)
}

// inputs are the files of the source that a step may see.
func inputs(source *dagger.Directory, step ci.Step) *dagger.Directory {
	return source.Filter(dagger.DirectoryFilterOpts{Exclude: driver.Excludes(step.Inputs)})
}

func (e *execution) withSecrets(ctx context.Context, container *dagger.Container) (*dagger.Container, error) {
	for _, ref := range e.step.Secrets {
		if e.options.Secrets == nil {
			return nil, fmt.Errorf("read secret %s: the function that runs this step passes no secrets", ref.URI)
		}
		secret, err := e.options.Secrets(ref.URI)
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", ref.URI, err)
		}
		value, err := secret.Plaintext(ctx)
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", ref.URI, err)
		}
		e.redact.Secret(value)
		container = container.WithSecretVariable(ref.Env, secret)
	}
	return container, nil
}

// read fetches what the step's script left.
func (e *execution) read(ctx context.Context, container *dagger.Container) (driver.Outcome, error) {
	dir, err := os.MkdirTemp("", "step-")
	if err != nil {
		return driver.Outcome{}, err
	}
	defer os.RemoveAll(dir)
	if _, err := container.Directory(driver.Out).Export(ctx, dir); err != nil {
		return driver.Outcome{}, fmt.Errorf("run it in a container: %w", err)
	}
	return driver.Read(os.DirFS(dir), e.step, e.redact.Bytes)
}

// conclude turns what the script left into the result.
func (e *execution) conclude(o driver.Outcome) {
	result := &e.node.result
	result.Status, result.Log, result.Reports = o.Status, o.Log, o.Reports
	result.Command, result.ExitCode = o.Command, o.Code
	if o.Status == ci.Passed {
		return
	}
	var why string
	switch {
	case o.Missing != "":
		why = fmt.Sprintf("its commands passed but %s is not there; correct where the command writes, or the output's path",
			path.Join(e.step.Dir, o.Missing))
	case o.Status == ci.TimedOut:
		why = fmt.Sprintf("stopped after %s, which is its timeout, in %q; what it printed until then is in its log",
			e.step.Timeout, driver.Line(o.Command))
	case o.Status == ci.Broken:
		why = fmt.Sprintf("no program %s in image %s; install it there, or choose another image", o.Command[0], e.step.Tool.Image)
	default:
		why = fmt.Sprintf("%q: exit code %d", driver.Line(o.Command), o.Code)
	}
	result.Err = errors.New(string(e.redact.Bytes([]byte(e.step.Name + ": " + why))))
}
