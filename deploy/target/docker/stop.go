package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/metaextract/pipeline/deploy"
)

// Stop implements deploy.Target: what is in the slot gets its image's stop signal (SIGTERM where it names none), and
// SIGKILL after the unit's Stop, rounded up to whole seconds. Docker counts that time: it ends also when this process does
// first. The containers are removed and their logs kept in this process. When ctx ends, what is left is killed and ctx's
// error returned.
func (t *Target) Stop(ctx context.Context, name deploy.Slot) error {
	s := t.slot(name)
	s.change.Lock()
	defer s.change.Unlock()
	if err := t.stop(ctx, name); err != nil {
		return fmt.Errorf("stop slot %s on %s: %w", name, t.host.name, err)
	}
	return nil
}

// stop needs the slot's change.
func (t *Target) stop(ctx context.Context, name deploy.Slot) error {
	there, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	s := t.slot(name)
	err = each(there, func(c container.InspectResponse) error {
		err := t.end(ctx, c)
		left, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer cancel()
		if log, logErr := t.log(left, c.ID); logErr == nil {
			s.mu.Lock()
			if s.logs == nil {
				s.logs = map[string]string{}
			}
			s.logs[c.Config.Labels[labelComponent]] = log
			s.mu.Unlock()
		}
		return errors.Join(err, t.remove(left, c.ID))
	})
	if err == nil {
		s.mu.Lock()
		s.started = false
		s.mu.Unlock()
	}
	return err
}

// end ends a container in its time.
func (t *Target) end(ctx context.Context, c container.InspectResponse) error {
	grace := int(DefaultStop.Seconds())
	if c.Config.StopTimeout != nil {
		grace = *c.Config.StopTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, time.Duration(grace)*time.Second+callPatience)
	defer cancel()
	_, err := t.client.ContainerStop(bounded, c.ID, client.ContainerStopOptions{})
	switch {
	case err == nil || errdefs.IsNotFound(err) || errdefs.IsNotModified(err):
		return nil
	case ctx.Err() != nil:
		return cmp.Or(context.Cause(ctx), ctx.Err())
	default:
		return t.explain(err)
	}
}

// clear removes everything of a slot at once.
func (t *Target) clear(ctx context.Context, name deploy.Slot) error {
	there, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	return each(there, func(c container.InspectResponse) error { return t.remove(ctx, c.ID) })
}

// remove kills and removes a container, with the volumes that have no name. One that is gone is no error.
func (t *Target) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_, err := t.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove container: %w", t.explain(err))
}
