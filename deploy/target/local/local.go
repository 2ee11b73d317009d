// Package local runs slots as processes of this machine, for rehearsals and for environments without containers. It
// implements deploy.Target; what it starts ends with it, however it ends (internal/process).
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/metaextract/pipeline/deploy"
)

// Options of a target.
type Options struct {
	Dir    string   // for logs; it must exist
	Env    []string // what every unit gets, as "NAME=value"; a unit's own variables win
	Redact []string // values that must not appear in logs
}

// Target runs each unit of a slot as a process, or as a file server where it is static.
type Target struct {
	options Options

	mu    sync.Mutex
	slots map[deploy.Slot]*running // nil value: starting
}

var _ deploy.Target = (*Target)(nil)

// running is what runs in a slot.
type running struct {
	units []unit
}

// unit is a started component.
type unit interface {
	component() string
	address() string
	// alive is nil while it runs, else why it does not.
	alive() error
	logs() string
	stop(ctx context.Context) error
}

// New makes a target with empty slots.
func New(options Options) (*Target, error) {
	if info, err := os.Stat(options.Dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("local target: %q is not a directory for logs", options.Dir)
	}
	return &Target{options: options, slots: map[deploy.Slot]*running{}}, nil
}

// Start starts every unit on a port of its own.
func (t *Target) Start(ctx context.Context, slot deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	if !t.reserve(slot) {
		return deploy.Instance{}, fmt.Errorf("start %s: the slot is in use; stop it first", slot)
	}
	instance := deploy.Instance{Slot: slot, Release: release, Endpoints: map[string]*endpoint{}}
	r := &running{}
	for _, spec := range release.Units {
		u, err := t.startUnit(ctx, slot, spec)
		if err != nil {
			err = errors.Join(fmt.Errorf("start %s in slot %s: %w", spec.Component, slot, err), r.stop(context.WithoutCancel(ctx)))
			t.set(slot, nil)
			return deploy.Instance{}, err
		}
		r.units = append(r.units, u)
		instance.Endpoints[spec.Component] = &endpoint{Scheme: "http", Host: u.address()}
	}
	t.set(slot, r)
	return instance, nil
}

func (t *Target) startUnit(ctx context.Context, slot deploy.Slot, spec deploy.Unit) (unit, error) {
	if spec.Static != "" {
		return startStatic(ctx, spec)
	}
	return t.startProcess(ctx, slot, spec)
}

// Alive says which unit has ended.
func (t *Target) Alive(_ context.Context, slot deploy.Slot) error {
	r := t.get(slot)
	if r == nil {
		return fmt.Errorf("slot %s is empty", slot)
	}
	for _, u := range r.units {
		if err := u.alive(); err != nil {
			return fmt.Errorf("%s: %w", u.component(), err)
		}
	}
	return nil
}

// Logs returns the end of each unit's output.
func (t *Target) Logs(_ context.Context, slot deploy.Slot) (map[string]string, error) {
	logs := map[string]string{}
	if r := t.get(slot); r != nil {
		for _, u := range r.units {
			logs[u.component()] = u.logs()
		}
	}
	return logs, nil
}

// Stop ends the units of the slot.
func (t *Target) Stop(ctx context.Context, slot deploy.Slot) error {
	r := t.get(slot)
	if r == nil {
		return nil
	}
	err := r.stop(ctx)
	t.set(slot, nil)
	return err
}

// Close ends every slot.
func (t *Target) Close(ctx context.Context) error {
	return errors.Join(t.Stop(ctx, deploy.Blue), t.Stop(ctx, deploy.Green))
}

func (r *running) stop(ctx context.Context) error {
	errs := make([]error, len(r.units))
	var wg sync.WaitGroup
	for i, u := range r.units {
		wg.Go(func() { errs[i] = u.stop(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (t *Target) reserve(slot deploy.Slot) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, used := t.slots[slot]; used {
		return false
	}
	t.slots[slot] = nil
	return true
}

func (t *Target) get(slot deploy.Slot) *running {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.slots[slot]
}

func (t *Target) set(slot deploy.Slot, r *running) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r == nil {
		delete(t.slots, slot)
		return
	}
	t.slots[slot] = r
}
