// Package host runs the pipeline's steps as processes on this machine, for machines and CI without a Dagger engine. It
// implements ci.Runner and passes ci/runnertest, as internal/engine does.
//
// Isolation is that of directories and environments, not of containers: a step sees only its inputs and what the step
// it continues from left, in a directory of its own under the cache, with an environment of its own (see environment.go)
// and servers of its own. It can still read what the user who runs it can read. The source is never written.
//
// Nothing outlives the runner: every process is started through internal/process, so that neither Ctrl-C nor SIGKILL of
// the pipeline leaves a server behind; directories that a killed run left are removed by the next one.
//
// The cache holds layers (file systems of steps, see layer.go), records (results of steps that passed, see record.go),
// the tools' own caches and an initialised PostgreSQL cluster. It may be shared by any number of runs at once and
// removed whenever none is running.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/metaextract/pipeline/ci"
)

// Options say how a Runner works.
type Options struct {
	// Source is the root of the source tree. It is only ever read.
	Source string
	// CacheDir is where layers, results and caches are kept. Empty means "pipeline" in os.UserCacheDir.
	CacheDir string
	// Jobs is how many steps run at once. Zero means the number of cores.
	Jobs int
	// NoCache runs every step even if the cache has its result, which is then replaced. A step that has run in this
	// Runner is not run again.
	NoCache bool
	// Observer is told of the run as it happens; may be nil. Steps whose result comes from the cache are finished without
	// having been started.
	Observer ci.Observer
	// Log gets every line of every step as it comes, after the step's name; may be nil. It is not written concurrently.
	Log io.Writer
	// Retention bounds what Close leaves in the cache. The zero value means DefaultRetention.
	Retention Retention
}

// Runner runs steps on this machine. Its methods are safe for concurrent use. Close it: it may hold a database server.
type Runner struct {
	options  Options
	source   string // absolute, without symbolic links
	store    *store
	programs *programs
	scratch  *scratch
	log      *lineLog

	mu       sync.Mutex
	ran      map[string]*record // by key: steps that passed in this runner
	latest   map[string]string  // key by name of step, of its last result in this runner
	held     map[string]*layer  // by key: layers in use until Close
	copies   []*layer           // artifacts, removed by Close
	postgres *sharedPostgres
	closed   bool
}

var _ ci.Runner = (*Runner)(nil)

// New makes a runner. It fails where the source cannot be read or the cache cannot be written, and says what to do.
func New(options Options) (*Runner, error) {
	source, err := filepath.Abs(options.Source)
	if err == nil {
		source, err = filepath.EvalSymlinks(source)
	}
	if err != nil {
		return nil, fmt.Errorf("read source directory %q: %w", options.Source, err)
	}
	if _, err := os.ReadDir(source); err != nil {
		return nil, fmt.Errorf("read source directory: %w; the user who runs the pipeline must be able to read it", err)
	}
	if options.Jobs <= 0 {
		options.Jobs = runtime.GOMAXPROCS(0)
	}
	if options.Retention == (Retention{}) {
		options.Retention = DefaultRetention
	}
	store, err := openStore(options.CacheDir)
	if err != nil {
		return nil, err
	}
	scratch, err := newScratch()
	if err != nil {
		return nil, err
	}
	r := &Runner{
		options: options, source: source, store: store, scratch: scratch,
		programs: newPrograms(scratch.dir), log: newLineLog(options.Log),
		ran: map[string]*record{}, latest: map[string]string{}, held: map[string]*layer{},
	}
	r.postgres = &sharedPostgres{dir: filepath.Join(scratch.dir, "postgres"), store: store}
	return r, nil
}

// Run runs the steps and what they continue from. A step that is only reached through After of another is run, shared
// by all that continue from it and told to the Observer, but has no result in the list.
//
// The error is for what concerns no step in particular: steps that cannot be told apart, a cycle, an unreadable source.
func (r *Runner) Run(ctx context.Context, steps ...ci.Step) ([]ci.Result, error) {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return nil, errors.New("run steps: the runner is closed")
	}
	graph, err := r.plan(ctx, steps)
	if err != nil {
		return nil, err
	}
	r.schedule(ctx, graph)
	results := make([]ci.Result, len(steps))
	for i, n := range graph.listed {
		results[i] = n.result
		results[i].Step = steps[i]
	}
	return results, nil
}

// Artifact returns the root of a copy of the file system that a step left (see Layer), which whoever runs the release may
// write to: files it makes are not in the way of a later run. It is there until Close.
func (r *Runner) Artifact(step ci.Step) (dir string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock() // held while copying, so that Close does not miss the copy
	from, key := r.layerOf(step)
	if from == nil {
		return "", fmt.Errorf("%s has left no file system: it was not run, did not pass, or nothing asked to keep what it made", step.Name)
	}
	l, err := r.store.newLayer(key)
	if err != nil {
		return "", err
	}
	if _, err := cloneTree(from.tree(), l.tree()); err != nil {
		l.remove()
		return "", explain(err, r.store.dir)
	}
	r.copies = append(r.copies, l)
	return l.tree(), nil
}

// Layer returns the root of the file system that a step left, laid out as the source, where the step passed in this
// runner and its file system was kept: that of install and build steps, of steps with Outputs and of steps that another
// continued from. It stays in place until Close, and is not to be written.
func (r *Runner) Layer(step ci.Step) (dir string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, _ := r.layerOf(step); l != nil {
		return l.tree(), true
	}
	return "", false
}

// layerOf finds the layer of a step by its name.
func (r *Runner) layerOf(step ci.Step) (*layer, string) {
	key := r.latest[step.Name]
	return r.held[key], key
}

// Close stops the servers, lets other runs have the layers and removes what is old from the cache.
func (r *Runner) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	held, copies := r.held, r.copies
	r.held, r.copies = nil, nil
	r.mu.Unlock()

	var errs []error
	errs = append(errs, r.postgres.close())
	for _, l := range held {
		l.release()
	}
	for _, l := range copies {
		l.remove()
	}
	errs = append(errs, r.scratch.close())
	if _, err := r.store.prune(r.options.Retention); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hold keeps a layer in use until Close. Of two layers of one key the first stays, so that a path given out stays right.
func (r *Runner) hold(key string, l *layer) *layer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil { // closed meanwhile
		return l
	}
	if first := r.held[key]; first != nil && first != l {
		l.release()
		return first
	}
	r.held[key] = l
	return l
}

// known returns what this runner has of a key: the record of a run of its own, and the layer.
func (r *Runner) known(key string) (*record, *layer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ran[key], r.held[key]
}

// passed remembers that a step passed in this runner.
func (r *Runner) passed(key string, record *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran[key] = record
	r.latest[record.Step] = key
}
