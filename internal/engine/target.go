package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Target runs the units of slots as services of the engine, each an image. It implements deploy.Target. Its addresses
// are names that only the engine's network knows: functions of modules and other containers of the same session.
type Target struct {
	client *dagger.Client
	images func(artifact string) (*dagger.Container, bool)

	mu     sync.Mutex
	closed bool
	slots  map[deploy.Slot]*slot
}

var _ deploy.Target = (*Target)(nil)

// NewTarget makes a target. images knows the images that units name.
func NewTarget(client *dagger.Client, images func(artifact string) (*dagger.Container, bool)) *Target {
	return &Target{client: client, images: images, slots: map[deploy.Slot]*slot{}}
}

// slot is what runs in a slot. change is held while it is started or stopped, mu for a moment.
type slot struct {
	change sync.Mutex
	mu     sync.Mutex
	units  []*unit
	used   bool
}

func (s *slot) running() []*unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used {
		return nil
	}
	return slices.Clone(s.units)
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

// Start implements deploy.Target.
func (t *Target) Start(ctx context.Context, name deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	instance := deploy.Instance{Slot: name, Release: release, Endpoints: map[string]*url.URL{}}
	where := fmt.Sprintf("release %s in slot %s", release.Version, name)
	s, err := t.slot(name)
	if err != nil {
		return instance, fmt.Errorf("start %s: %w", where, err)
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.running() != nil {
		return instance, fmt.Errorf("start %s: the slot is in use; stop it first", where)
	}
	units, err := t.startAll(ctx, release)
	if err != nil {
		return instance, errors.Join(fmt.Errorf("start %s: %w", where, err), stopAll(context.WithoutCancel(ctx), units))
	}
	for _, u := range units {
		instance.Endpoints[u.Component] = u.endpoint
	}
	s.mu.Lock()
	s.units, s.used = units, true
	s.mu.Unlock()
	t.mu.Lock()
	closed := t.closed
	t.mu.Unlock()
	if closed { // Close has looked before there was something to stop
		return instance, errors.Join(errors.New("the target was closed"), stopAll(context.WithoutCancel(ctx), units))
	}
	return instance, nil
}

// startAll starts the units at the same time, and waits until each has begun to run or is known to be unable to.
func (t *Target) startAll(ctx context.Context, release deploy.Release) ([]*unit, error) {
	nonce := rand.Text() // the engine would take a second start of the same for the first
	units := make([]*unit, len(release.Units))
	errs := make([]error, len(release.Units))
	var all sync.WaitGroup
	for i, u := range release.Units {
		all.Go(func() {
			units[i] = &unit{Unit: u, client: t.client, id: nonce + "-" + u.Component}
			if err := units[i].start(ctx, t.images); err != nil {
				errs[i] = fmt.Errorf("component %s: %w", u.Component, err)
			}
		})
	}
	all.Wait()
	return units, errors.Join(errs...)
}

// Alive implements deploy.Target. An empty slot is not alive.
func (t *Target) Alive(ctx context.Context, name deploy.Slot) error {
	s, err := t.slot(name)
	if err != nil {
		return err
	}
	units := s.running()
	if units == nil {
		return fmt.Errorf("slot %s runs nothing", name)
	}
	errs := make([]error, len(units))
	var all sync.WaitGroup
	for i, u := range units {
		all.Go(func() {
			if err := u.alive(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: %w", u.Component, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Logs implements deploy.Target. The logs of a slot that was stopped stay until something else is started there.
func (t *Target) Logs(ctx context.Context, name deploy.Slot) (map[string]string, error) {
	t.mu.Lock()
	s := t.slots[name]
	t.mu.Unlock()
	logs := map[string]string{}
	if s == nil {
		return logs, nil
	}
	s.mu.Lock()
	units := slices.Clone(s.units)
	s.mu.Unlock()
	for _, u := range units {
		state, err := u.look(ctx)
		if err != nil {
			return logs, fmt.Errorf("read the log of %s in slot %s: %w", u.Component, name, err)
		}
		logs[u.Component] = state.log
	}
	return logs, nil
}

// Stop implements deploy.Target.
func (t *Target) Stop(ctx context.Context, name deploy.Slot) error {
	t.mu.Lock()
	s := t.slots[name]
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	err := stopAll(ctx, s.running())
	s.mu.Lock()
	s.used = false
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("stop slot %s: %w", name, err)
	}
	return nil
}

// Close implements deploy.Target. The target cannot be used afterwards; closing twice is no error.
func (t *Target) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	names := slices.Collect(maps.Keys(t.slots))
	t.mu.Unlock()
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = t.Stop(ctx, name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func stopAll(ctx context.Context, units []*unit) error {
	errs := make([]error, len(units))
	var all sync.WaitGroup
	for i, u := range units {
		all.Go(func() {
			if err := u.stop(ctx); err != nil {
				errs[i] = fmt.Errorf("component %s: %w", u.Component, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// The bounds of a unit that states none.
const (
	defaultStop = 10 * time.Second // as docker stop
	begin       = 30 * time.Second // until a unit's script runs, once its image is there
	killed      = 15 * time.Second // until the engine has ended what was killed
)
