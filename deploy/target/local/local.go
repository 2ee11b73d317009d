// Package local runs releases as processes of this machine: a slot is one process for each unit with a command, and one
// HTTP server in this process for each unit of static files. Nothing it starts outlives this process (see
// internal/process). It needs no container engine, which makes it the target of rehearsals on laptops and in CI.
// What outlives a command is in deploy/target/local/supervisor, a process that holds such a target.
package local

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/redact"
)

// DefaultStop is how long a unit may take from SIGTERM to its end. It is Docker's and Kamal's order of magnitude.
const DefaultStop = 10 * time.Second

// host is where slots listen: never on an address that others can reach.
const host = "127.0.0.1"

// Options of a target.
type Options struct {
	// Dir is where logs and the slots' home directories go; empty for none. Nothing in it is needed afterwards.
	Dir string
	// Env is what every unit gets beside its own Env, as "NAME=value". This process's environment is not passed on.
	Env []string
	// Redact are texts that no log may show.
	Redact []string
	// Keep starts a process that has ended again, at growing intervals (internal/process.Keep).
	Keep bool
	// MaxLog bounds the log file of a unit, in bytes; 0 is no bound. What is older goes to one file of the same size, with
	// .1 after its name, and then away.
	MaxLog int64
	// Hold is what process.Spec says: it stays open until nothing of any unit is left.
	Hold *os.File
}

// Conditions are what a start may need beyond what is the same for all.
type Conditions struct {
	// Env and Redact come on top of the target's.
	Env, Redact []string
	// Memory is how many bytes a unit may use, by component. It needs Keep, and says nothing to static files.
	Memory map[string]int64
}

// Target implements deploy.Target.
type Target struct {
	options Options

	mu     sync.Mutex
	slots  map[deploy.Slot]*slot
	closed bool
}

var _ deploy.Target = (*Target)(nil)

// New makes a target. Close it.
func New(options Options) (*Target, error) {
	if options.Dir != "" {
		info, err := os.Stat(options.Dir)
		if err != nil {
			return nil, fmt.Errorf("local target: directory for logs: %w", err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("local target: %s is no directory", options.Dir)
		}
	}
	return &Target{options: options, slots: map[deploy.Slot]*slot{}}, nil
}

// slot is what runs in one slot.
type slot struct {
	change sync.Mutex // held by Start and Stop

	mu    sync.Mutex // guards what follows
	units []unit     // kept after Stop for their logs
	used  bool
}

// unit is a running unit.
type unit interface {
	component() string
	endpoint() *url.URL
	// alive says why the unit has ended.
	alive() error
	logs() string
	// stop returns when nothing of the unit is left. It is called once.
	stop(ctx context.Context) error
}

func (t *Target) slot(name deploy.Slot) (*slot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errors.New("the target is closed")
	}
	s, ok := t.slots[name]
	if !ok {
		s = &slot{}
		t.slots[name] = s
	}
	return s, nil
}

// Start implements deploy.Target. The units outlive ctx: Stop and Close end them.
func (t *Target) Start(ctx context.Context, name deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	return t.StartUnder(ctx, name, release, Conditions{})
}

// StartUnder is Start under conditions.
func (t *Target) StartUnder(ctx context.Context, name deploy.Slot, release deploy.Release, c Conditions) (deploy.Instance, error) {
	c.Env, c.Redact = slices.Concat(t.options.Env, c.Env), slices.Concat(t.options.Redact, c.Redact)
	files := files{slot: name, version: release.Version, redactor: redact.Of(c.Redact...)}
	instance := deploy.Instance{Slot: name, Release: release, Endpoints: map[string]*url.URL{}}
	s, err := t.slot(name)
	if err != nil {
		return instance, fmt.Errorf("start release %s in slot %s: %w", release.Version, name, err)
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.running() != nil {
		return instance, fmt.Errorf("start release %s: slot %s is in use; stop it first", release.Version, name)
	}
	var units []unit
	for _, u := range release.Units {
		started, err := t.start(ctx, u, files, c)
		if err != nil {
			err = fmt.Errorf("start component %s of release %s in slot %s: %w", u.Component, release.Version, name, err)
			return instance, errors.Join(err, stopAll(context.WithoutCancel(ctx), units))
		}
		units = append(units, started)
		instance.Endpoints[u.Component] = started.endpoint()
	}
	s.mu.Lock()
	s.units, s.used = units, true
	s.mu.Unlock()
	t.mu.Lock()
	closed := t.closed
	t.mu.Unlock()
	if closed { // Close has looked before there was something to stop
		return instance, errors.Join(errors.New("the target was closed"), s.stop(context.WithoutCancel(ctx)))
	}
	return instance, nil
}

func (t *Target) start(ctx context.Context, u deploy.Unit, f files, c Conditions) (unit, error) {
	switch {
	case u.Static != "" && len(u.Command) > 0:
		return nil, errors.New("it has both a command and static files; keep one of serve.command and serve.static")
	case u.Static != "":
		return startStatic(ctx, u)
	case len(u.Command) > 0:
		return t.startCommand(ctx, u, f, c)
	default:
		return nil, errors.New("it has neither a command nor static files; set serve.command or serve.static")
	}
}

// Alive implements deploy.Target. An empty slot is not alive.
func (t *Target) Alive(_ context.Context, name deploy.Slot) error {
	s, err := t.slot(name)
	if err != nil {
		return err
	}
	units := s.running()
	if units == nil {
		return fmt.Errorf("slot %s runs nothing", name)
	}
	var ended []error
	for _, u := range units {
		if err := u.alive(); err != nil {
			ended = append(ended, fmt.Errorf("%s: %w", u.component(), err))
		}
	}
	return errors.Join(ended...)
}

// Logs implements deploy.Target. The logs of a slot that was stopped stay until something else is started there.
func (t *Target) Logs(_ context.Context, name deploy.Slot) (map[string]string, error) {
	t.mu.Lock()
	s := t.slots[name]
	t.mu.Unlock()
	logs := map[string]string{}
	if s == nil {
		return logs, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.units {
		logs[u.component()] = u.logs()
	}
	return logs, nil
}

// Stop implements deploy.Target. When ctx ends first, what is left is killed and ctx's error returned.
func (t *Target) Stop(ctx context.Context, name deploy.Slot) error {
	t.mu.Lock()
	s := t.slots[name]
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	if err := s.stop(ctx); err != nil {
		return fmt.Errorf("stop slot %s: %w", name, err)
	}
	return nil
}

// Close implements deploy.Target. The target cannot be used afterwards; closing twice is no error.
func (t *Target) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	var slots []deploy.Slot
	for name := range t.slots {
		slots = append(slots, name)
	}
	t.mu.Unlock()
	errs := make([]error, len(slots))
	var all sync.WaitGroup
	for i, name := range slots {
		all.Go(func() { errs[i] = t.Stop(ctx, name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// running is the slot's units, nil when it is empty.
func (s *slot) running() []unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used {
		return nil
	}
	return append([]unit{}, s.units...)
}

// stop needs s.change.
func (s *slot) stop(ctx context.Context) error {
	units := s.running()
	if units == nil {
		return nil
	}
	err := stopAll(ctx, units)
	s.mu.Lock()
	s.used = false
	s.mu.Unlock()
	return err
}

func stopAll(ctx context.Context, units []unit) error {
	errs := make([]error, len(units))
	var all sync.WaitGroup
	for i, u := range units {
		all.Go(func() {
			if err := u.stop(ctx); err != nil {
				errs[i] = fmt.Errorf("component %s: %w", u.component(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// fileName makes a component's name fit for a file.
func fileName(component string) string { return strings.ReplaceAll(component, "/", "_") }
