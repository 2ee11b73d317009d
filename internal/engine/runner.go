// Package engine runs the pipeline on a Dagger engine: a ci.Step is a container, a service of a step and a slot of a
// rehearsal are services of the engine. It implements ci.Runner and rehearse.Platform and passes ci/runnertest and
// deploy/target/targettest, as internal/host does. The Dagger module (package main) calls it.
//
// The engine's own cache decides what is run: a step whose image, commands, inputs, environment and predecessor have not
// changed is taken from there, across runs and branches, for as long as the engine keeps it.
package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Options say how a Runner works.
type Options struct {
	Client *dagger.Client
	// Source is the root of the source tree. A directory that was uploaded or that a function got as its argument has its
	// content as its identity; of one that was put together in a function, every change runs every step again.
	Source *dagger.Directory
	// Secrets finds the secret of a reference in a step. Nil: there are none.
	Secrets func(uri string) (*dagger.Secret, error)
	// Jobs is how many steps run at once. Zero means the number of cores.
	Jobs int
	// NoCache runs every step even if the engine has its result.
	NoCache bool
	// Since is when the run began that this runner is a part of: results from then on are not called cached, whoever ran
	// the step. Zero means now.
	Since time.Time
	// Observer is told of the run as it happens; may be nil.
	Observer ci.Observer
}

// Runner runs steps as containers. Its methods are safe for concurrent use. Nothing has to be closed: containers and
// services end with the steps that use them.
type Runner struct {
	options Options
	nonce   string // of every step where NoCache is set
	slots   chan struct{}

	mu     sync.Mutex
	passed map[string]*node // by the step's name
}

var _ ci.Runner = (*Runner)(nil)

// New makes a runner.
func New(options Options) *Runner {
	if options.Jobs <= 0 {
		options.Jobs = runtime.GOMAXPROCS(0)
	}
	if options.Since.IsZero() {
		options.Since = time.Now()
	}
	r := &Runner{options: options, slots: make(chan struct{}, options.Jobs), passed: map[string]*node{}}
	if options.NoCache {
		r.nonce = rand.Text()
	}
	return r
}

// Container is what a step left, where it passed in this runner.
func (r *Runner) Container(step ci.Step) (*dagger.Container, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.passed[step.Name]
	if !ok {
		return nil, false
	}
	return n.container, true
}

// Run runs the steps and what they continue from. A step that is only reached through After of another is run once and
// told to the Observer, but has no result in the list. The error is for steps that cannot be told apart.
func (r *Runner) Run(ctx context.Context, steps ...ci.Step) ([]ci.Result, error) {
	g := &graph{nodes: map[string]*node{}}
	for i := range steps {
		n, err := g.add(&steps[i], nil)
		if err != nil {
			return nil, err
		}
		g.listed = append(g.listed, n)
	}
	var all sync.WaitGroup
	for _, n := range g.nodes {
		all.Go(func() { r.run(ctx, n) })
	}
	all.Wait()
	results := make([]ci.Result, len(steps))
	for i, n := range g.listed {
		results[i] = n.result
	}
	return results, nil
}

// graph is what one run is to do.
type graph struct {
	nodes  map[string]*node
	listed []*node // in the order of the steps given to Run
}

// node is a step in a graph.
type node struct {
	step      ci.Step
	after     *node
	done      chan struct{} // closed when result is there
	result    ci.Result
	container *dagger.Container // where it passed
}

// add adds a step and what it continues from. Steps are told apart by name.
func (g *graph) add(step *ci.Step, path []*ci.Step) (*node, error) {
	if step.Name == "" {
		return nil, errors.New("plan steps: a step has no name")
	}
	if slices.Contains(path, step) {
		return nil, fmt.Errorf("plan steps: %s continues from itself", step.Name)
	}
	if n := g.nodes[step.Name]; n != nil {
		if !reflect.DeepEqual(n.step, *step) {
			return nil, fmt.Errorf("plan steps: two different steps are named %s", step.Name)
		}
		return n, nil
	}
	n := &node{step: *step, done: make(chan struct{})}
	if step.After != nil {
		after, err := g.add(step.After, append(path, step))
		if err != nil {
			return nil, err
		}
		n.after = after
	}
	g.nodes[step.Name] = n
	return n, nil
}

// run gives a node its result, after the one it continues from.
func (r *Runner) run(ctx context.Context, n *node) {
	defer close(n.done)
	if n.after != nil {
		<-n.after.done
	}
	if status, err := r.hindrance(ctx, n); err != nil {
		n.result = ci.Result{Step: n.step, Started: time.Now(), Status: status, Err: err}
	} else {
		r.slots <- struct{}{}
		r.execute(ctx, n)
		<-r.slots
	}
	if n.result.Status == ci.Passed {
		r.mu.Lock()
		r.passed[n.step.Name] = n
		r.mu.Unlock()
	}
	if r.options.Observer != nil {
		r.options.Observer.StepFinished(n.result)
	}
}

// hindrance says why a step is not even begun.
func (r *Runner) hindrance(ctx context.Context, n *node) (ci.Status, error) {
	switch {
	case ctx.Err() != nil:
		return ci.Canceled, canceled(ctx, n.step)
	case n.after == nil, n.after.result.Status == ci.Passed:
		return "", nil
	default:
		return ci.Skipped, fmt.Errorf("%s: not run, since it continues from %s, which %s",
			n.step.Name, n.after.step.Name, ended(n.after.result.Status))
	}
}

// ended is how a status is said of a step.
func ended(s ci.Status) string {
	switch s {
	case ci.Skipped:
		return "was skipped"
	case ci.Broken:
		return "could not be run"
	default:
		return string(s)
	}
}

func canceled(ctx context.Context, step ci.Step) error {
	return fmt.Errorf("%s: canceled: %w", step.Name, context.Cause(ctx))
}
