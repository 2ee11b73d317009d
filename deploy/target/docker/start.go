package docker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/metaextract/pipeline/deploy"
)

// Start implements deploy.Target. A slot that holds exactly this release of the same deployment is taken over; what a
// killed run has only created, or what has ended since, is made anew. The images must be on the host or in a registry.
func (t *Target) Start(ctx context.Context, name deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	instance := deploy.Instance{Slot: name, Release: release, Endpoints: map[string]*url.URL{}}
	where := fmt.Sprintf("release %s in slot %s on %s", release.Version, name, t.host.name)
	s := t.slot(name)
	s.change.Lock()
	defer s.change.Unlock()
	if t.isClosed() {
		return instance, fmt.Errorf("start %s: %w", where, errClosed)
	}
	if len(t.options.Settings) > 0 {
		if err := t.Check(ctx); err != nil {
			return instance, fmt.Errorf("start %s: %w", where, err)
		}
	}
	units, err := t.prepare(ctx, name, release)
	if err != nil {
		return instance, fmt.Errorf("start %s: %w", where, err)
	}
	if err := t.makeRoom(ctx, name, units); err != nil {
		return instance, fmt.Errorf("start %s: %w", where, err)
	}
	if err := each(units, func(u *unit) error {
		if err := t.run(ctx, u); err != nil {
			return err
		}
		return t.keep(ctx, u, release.Version)
	}); err != nil {
		left, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer cancel()
		return instance, errors.Join(fmt.Errorf("start %s: %w", where, t.redact(err)), t.clear(left, name))
	}
	s.mu.Lock()
	s.started, s.logs = true, nil
	for _, u := range units {
		s.restarts[u.id] = 0
	}
	s.mu.Unlock()
	for _, u := range units {
		instance.Endpoints[u.Component] = endpoint(u.address)
	}
	if t.isClosed() { // Close has looked before there was something to stop
		return instance, errors.Join(errClosed, t.stop(context.WithoutCancel(ctx), name))
	}
	return instance, nil
}

// prepare finds out what to run, with every image there before anything is changed.
func (t *Target) prepare(ctx context.Context, name deploy.Slot, release deploy.Release) ([]*unit, error) {
	components := make([]string, 0, len(release.Units))
	for _, u := range release.Units {
		components = append(components, u.Component)
	}
	slices.Sort(components)
	if len(slices.Compact(slices.Clone(components))) != len(components) {
		return nil, errors.New("it has two units of one component")
	}
	units := make([]*unit, len(release.Units))
	for i, u := range release.Units {
		units[i] = &unit{Unit: u, name: t.containerName(name, u.Component)}
	}
	return units, each(units, func(u *unit) error {
		image, err := t.image(ctx, u.Artifact)
		if err != nil {
			return err
		}
		u.image = image.ID
		return u.specify(t, name, release.Version, components, image)
	})
}

// makeRoom looks at what the slot holds: it notes what can be taken over, removes what does not run, and refuses when
// something else does.
func (t *Target) makeRoom(ctx context.Context, name deploy.Slot, units []*unit) error {
	there, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	wanted := map[string]*unit{}
	for _, u := range units {
		wanted[u.Component] = u
	}
	var old []container.InspectResponse
	for _, c := range there {
		u := wanted[c.Config.Labels[labelComponent]]
		switch {
		case !runs(c):
			old = append(old, c)
		case u != nil && u.is(c):
			u.id = c.ID
		default:
			return fmt.Errorf("the slot is in use by release %s of deployment %s; stop it first",
				c.Config.Labels[labelRelease], c.Config.Labels[labelDeployment])
		}
	}
	return each(old, func(c container.InspectResponse) error { return t.remove(ctx, c.ID) })
}

// run creates and starts a unit's container, unless it was taken over, and finds its address.
func (t *Target) run(ctx context.Context, u *unit) error {
	if u.id == "" && t.options.Network != "" {
		if _, err := t.create(ctx, u, 0); err != nil {
			return err
		}
	} else if u.id == "" {
		if err := t.runAtPort(ctx, u); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	result, err := t.client.ContainerInspect(ctx, u.id, client.ContainerInspectOptions{})
	if err != nil {
		return t.explain(err)
	}
	u.address, err = t.address(result.Container, u.port())
	return err
}

// runAtPort tries the ports of the range, beginning at one that the container's name says: a slot has the same port each
// time, if it can. Docker would choose a free one, but another one at each restart, and the router knows the first.
func (t *Target) runAtPort(ctx context.Context, u *unit) error {
	first, many := t.options.FirstPort, t.options.LastPort-t.options.FirstPort+1
	from := spread(u.name, many)
	for i := range min(many, mostPorts) {
		taken, err := t.create(ctx, u, first+(from+i)%many)
		if err == nil || !taken {
			return err
		}
	}
	return fmt.Errorf("of the ports %d to %d of 127.0.0.1 none of the %d that were tried is free; free some, or give another range",
		first, t.options.LastPort, min(many, mostPorts))
}

// mostPorts bounds how many ports are tried: a failed start costs half a second.
const mostPorts = 20

// create creates and starts a container. taken says that it failed because the host's port is in use; nothing is left then.
func (t *Target) create(ctx context.Context, u *unit, hostPort int) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callPatience)
	defer cancel()
	u.publish(hostPort)
	created, err := t.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: u.name, Config: u.config, HostConfig: u.hostConfig, NetworkingConfig: u.network,
	})
	switch {
	case errdefs.IsConflict(err):
		return false, fmt.Errorf("a container named %s is there that is not this slot's, or another run has just made it: %w", u.name, err)
	case err != nil:
		return false, t.explain(err)
	}
	if _, err = t.client.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err == nil {
		u.id = created.ID
		return false, nil
	}
	left, cancelLeft := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
	defer cancelLeft()
	return portTaken(err), errors.Join(u.explainStart(t.explain(err)), t.remove(left, created.ID))
}

// each does something with all at the same time. The error names the unit.
func each[T any](all []T, do func(T) error) error {
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, one := range all {
		wait.Go(func() {
			err := do(one)
			if u, ok := any(one).(*unit); ok && err != nil {
				err = fmt.Errorf("component %s: %w", u.Component, err)
			}
			errs[i] = err
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// killPatience bounds the clearing away of what must not stay, whatever has become of the caller's context.
const killPatience = 20 * time.Second
