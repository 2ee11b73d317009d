package docker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Router is the traffic splitter as a container of the host: `pipeline router`, from an image that has the program.
//
// It is in the host's network: it reaches units at 127.0.0.1 as they are published, sees the clients' real addresses, and
// can hand its listener to its successor, which it could not in a network namespace of its own. Its control socket and its
// state are in a directory of the host, so that commands on the host, or over SSH (Forward), control it. It is no part of a
// slot: deployments never start, stop or replace it.
type Router struct {
	Image string
	// Command is the whole command: pipeline router --listen 0.0.0.0:443 --socket DIR/router.sock --state DIR/state.json.
	Command []string
	// Dir is a directory of the host, at the same path in the container. Nobody else may write to it.
	Dir string
}

// labelRouter marks a router's container. It has no slot, so nothing of a slot's takes it for its own.
const labelRouter = "pipeline.router"

// StartRouter has the host run a router, now and after each restart of the machine. One that runs as wanted is left alone;
// another one is an error: to replace it closes its connections, so that is never done in passing (StopRouter, or
// `pipeline router upgrade` where no gap is wanted). Target's Network must be empty.
func (t *Target) StartRouter(ctx context.Context, r Router) error {
	if err := t.startRouter(ctx, r); err != nil {
		return fmt.Errorf("start the router of %s on %s: %w", t.options.Application, t.host.name, t.redact(err))
	}
	return nil
}

func (t *Target) startRouter(ctx context.Context, r Router) error {
	switch {
	case t.options.Network != "":
		return fmt.Errorf("it is in the host's network and cannot look up names of network %s: run a router in that network, or units without one", t.options.Network)
	case r.Image == "" || len(r.Command) == 0:
		return errors.New("an image and a command are required")
	case !path.IsAbs(r.Dir) || path.Clean(r.Dir) == "/" || strings.Contains(r.Dir, ":"):
		return fmt.Errorf("directory %q: want an absolute path of the host, without a colon", r.Dir)
	}
	image, err := t.image(ctx, r.Image)
	if err != nil {
		return err
	}
	there, found, err := t.router(ctx)
	switch {
	case err != nil:
		return err
	case found && runs(there) && there.Image == image.ID && slices.Equal(there.Config.Entrypoint, r.Command) && slices.Equal(there.HostConfig.Binds, []string{r.bind()}):
		return nil
	case found && runs(there):
		return fmt.Errorf("another one runs there, from image %s; stop it first", there.Config.Image)
	case found:
		if err := t.remove(ctx, there.ID); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*callPatience)
	defer cancel()
	created, err := t.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: t.routerName(),
		Config: &container.Config{
			Image: r.Image, Entrypoint: r.Command, User: "0", StopSignal: "SIGTERM", StopTimeout: new(routerStop),
			Labels: map[string]string{
				labelApplication: t.options.Application, labelEnvironment: t.options.Environment, labelRouter: "true",
			},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "host", RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
			SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: true,
			// Root without its rights but those to listen below 1024 and to write where the directory is another user's.
			CapDrop: []string{"ALL"}, CapAdd: []string{"NET_BIND_SERVICE", "DAC_OVERRIDE"},
			Binds: []string{r.bind()}, // unlike a mount, it makes the directory where there is none
		},
	})
	if errdefs.IsConflict(err) {
		return fmt.Errorf("a container named %s is there that is no router of this application: %w", t.routerName(), err)
	}
	if err != nil {
		return t.explain(err)
	}
	if _, err := t.client.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		left, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer cancel()
		return errors.Join(t.explain(err), t.remove(left, created.ID))
	}
	return nil
}

// routerStop is the time that a router has for the requests in flight, in seconds: its own default (router.DefaultGrace)
// and a little more.
const routerStop = 35

// RouterAlive says why the router does not run: how it ended, with the end of its log.
func (t *Target) RouterAlive(ctx context.Context) error {
	there, found, err := t.router(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("look at the router on %s: %w", t.host.name, err)
	case !found:
		return fmt.Errorf("no router of %s on %s", t.options.Application, t.host.name)
	case there.State.Running && !there.State.Restarting:
		return nil
	default:
		return fmt.Errorf("the router on %s: %w", t.host.name, t.redact(t.why(ctx, there)))
	}
}

// StopRouter ends the router, with the time that it needs for the requests in flight. Where there is none it is no error.
func (t *Target) StopRouter(ctx context.Context) error {
	there, found, err := t.router(ctx)
	if err == nil && found {
		err = t.end(ctx, there)
		left, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer cancel()
		err = errors.Join(err, t.remove(left, there.ID))
	}
	if err != nil {
		return fmt.Errorf("stop the router on %s: %w", t.host.name, err)
	}
	return nil
}

// router is the container of the application's router in the environment.
func (t *Target) router(ctx context.Context) (container.InspectResponse, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	list, err := t.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label",
		labelApplication+"="+t.options.Application, labelEnvironment+"="+t.options.Environment, labelRouter+"=true")})
	if err != nil || len(list.Items) == 0 {
		return container.InspectResponse{}, false, t.explain(err)
	}
	result, err := t.client.ContainerInspect(ctx, list.Items[0].ID, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return container.InspectResponse{}, false, nil
	}
	return result.Container, err == nil, t.explain(err)
}

func (t *Target) routerName() string {
	return strings.Join([]string{"pipeline", part(t.options.Application), part(t.options.Environment), "router"}, ".")
}

func (r Router) bind() string { return path.Clean(r.Dir) + ":" + path.Clean(r.Dir) }
