package docker

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/metaextract/pipeline/deploy"
)

// Quiet implements deploy.Quieter: components with a signal for it in their Settings get it. That they were asked is kept
// on the host, where a later run finds it: Docker does not start them again any more when they end.
func (t *Target) Quiet(ctx context.Context, name deploy.Slot) error {
	s := t.slot(name)
	s.change.Lock()
	defer s.change.Unlock()
	err := t.workers(ctx, name, container.RestartPolicyUnlessStopped, func(ctx context.Context, c container.InspectResponse) error {
		// Asked again is no harm; marked and never asked would be. One that does not run (a conflict) takes no jobs either.
		_, err := t.client.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: t.settings(c.Config.Labels[labelComponent]).Quiet})
		if err != nil && !errdefs.IsConflict(err) {
			return err
		}
		return t.restart(ctx, c.ID, container.RestartPolicyDisabled)
	})
	if err != nil {
		return fmt.Errorf("quiet the workers of slot %s on %s: %w", name, t.host.name, err)
	}
	return nil
}

// Wake implements deploy.Quieter: workers that were asked are restarted, for no signal undoes the other. They have their
// unit's Stop for the jobs that they still have.
func (t *Target) Wake(ctx context.Context, name deploy.Slot) error {
	s := t.slot(name)
	s.change.Lock()
	defer s.change.Unlock()
	err := t.workers(ctx, name, container.RestartPolicyDisabled, func(ctx context.Context, c container.InspectResponse) error {
		if err := t.end(ctx, c); err != nil {
			return err
		}
		if _, err := t.client.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err != nil {
			return err
		}
		return t.restart(ctx, c.ID, container.RestartPolicyUnlessStopped)
	})
	if err != nil {
		return fmt.Errorf("wake the workers of slot %s on %s: %w", name, t.host.name, err)
	}
	return nil
}

// workers does something with the slot's workers that have a restart policy. One that has gone in between is no error.
func (t *Target) workers(ctx context.Context, name deploy.Slot, policy container.RestartPolicyMode, do func(context.Context, container.InspectResponse) error) error {
	if t.isClosed() {
		return errClosed
	}
	there, err := t.containers(ctx, name)
	if err != nil {
		return err
	}
	return each(there, func(c container.InspectResponse) error {
		component := c.Config.Labels[labelComponent]
		if t.settings(component).Quiet == "" || c.HostConfig.RestartPolicy.Name != policy {
			return nil
		}
		if err := do(ctx, c); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("component %s: %w", component, t.explain(err))
		}
		return nil
	})
}

func (t *Target) restart(ctx context.Context, id string, policy container.RestartPolicyMode) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_, err := t.client.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{RestartPolicy: &container.RestartPolicy{Name: policy}})
	return err
}
