package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/metaextract/pipeline/deploy"
)

// containers are those of a slot, whatever their state and whoever has started them.
func (t *Target) containers(ctx context.Context, name deploy.Slot) ([]container.InspectResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	list, err := t.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label",
		labelApplication+"="+t.options.Application, labelEnvironment+"="+t.options.Environment, labelSlot+"="+string(name))})
	if err != nil {
		return nil, t.explain(err)
	}
	var found []container.InspectResponse
	for _, summary := range list.Items {
		result, err := t.client.ContainerInspect(ctx, summary.ID, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			continue // it has gone in between
		}
		if err != nil {
			return nil, t.explain(err)
		}
		found = append(found, result.Container)
	}
	slices.SortFunc(found, func(a, b container.InspectResponse) int {
		return strings.Compare(a.Config.Labels[labelComponent], b.Config.Labels[labelComponent])
	})
	return found, nil
}

// runs says whether a container runs, or will again by itself.
func runs(c container.InspectResponse) bool {
	return c.State.Running || c.State.Restarting || c.State.Paused
}

// address is where a container listens, as its router sees it.
func (t *Target) address(c container.InspectResponse, inside int) (string, error) {
	if t.options.Network != "" {
		return net.JoinHostPort(strings.TrimPrefix(c.Name, "/"), strconv.Itoa(inside)), nil
	}
	for p, bindings := range c.HostConfig.PortBindings {
		if int(p.Num()) == inside && len(bindings) > 0 {
			return net.JoinHostPort(bindings[0].HostIP.String(), bindings[0].HostPort), nil
		}
	}
	return "", fmt.Errorf("container %s has no port", strings.TrimPrefix(c.Name, "/"))
}

// Running implements deploy.Inspector, by the labels of what is there, whoever has started it. Of the release it knows the
// version and, of its units, the component, the artifact and the port.
func (t *Target) Running(ctx context.Context, name deploy.Slot) (deploy.Instance, bool, error) {
	if t.isClosed() {
		return deploy.Instance{}, false, errClosed
	}
	there, err := t.containers(ctx, name)
	if err != nil {
		return deploy.Instance{}, false, fmt.Errorf("look at slot %s: %w", name, err)
	}
	if len(there) == 0 || len(missing(there)) > 0 || slices.ContainsFunc(there, func(c container.InspectResponse) bool { return !runs(c) }) {
		return deploy.Instance{}, false, nil
	}
	instance, err := t.instance(name, there)
	return instance, err == nil, err
}

// Alive implements deploy.Target. An empty slot is not alive. A unit that Docker has restarted counts as ended, from the
// first time that this target has seen it: a release that crashes and comes back is no good one.
func (t *Target) Alive(ctx context.Context, name deploy.Slot) error {
	if t.isClosed() {
		return errClosed
	}
	there, err := t.containers(ctx, name)
	if err != nil {
		return fmt.Errorf("look at slot %s: %w", name, err)
	}
	if len(there) == 0 {
		return fmt.Errorf("slot %s runs nothing", name)
	}
	s := t.slot(name)
	var ended []error
	for _, c := range there {
		component := c.Config.Labels[labelComponent]
		s.mu.Lock()
		before, known := s.restarts[c.ID]
		if !known {
			before = c.RestartCount
			s.restarts[c.ID] = before
		}
		s.mu.Unlock()
		if c.State.Running && !c.State.Restarting && c.RestartCount <= before {
			continue
		}
		ended = append(ended, fmt.Errorf("%s: %w", component, t.redact(t.why(ctx, c))))
	}
	for _, component := range missing(there) {
		ended = append(ended, fmt.Errorf("%s: its container is gone", component))
	}
	return errors.Join(ended...)
}

// why says how a container has ended.
func (t *Target) why(ctx context.Context, c container.InspectResponse) error {
	how := ended{code: strconv.Itoa(c.State.ExitCode), killed: c.State.OOMKilled}
	switch {
	case c.State.Status == container.StateCreated:
		return errors.New("it was never started; its run was interrupted")
	case c.State.Running && !c.State.Restarting: // Docker has started it again and forgotten how it had ended
		how = t.lastEnd(ctx, c)
	}
	text := "it ended with exit code " + how.code
	if how.code == "" {
		text = "it ended, with an exit code that Docker does not know any more"
	}
	if how.killed {
		text += ": out of memory"
		if limit := c.HostConfig.Memory; limit > 0 {
			text += fmt.Sprintf(", its limit is %d MiB", limit>>20)
		}
	}
	if c.RestartCount > 0 {
		text += fmt.Sprintf("; Docker has restarted it %d times", c.RestartCount)
	}
	if c.State.Error != "" {
		text += "; Docker says: " + c.State.Error
	}
	log, err := t.log(ctx, c.ID)
	switch {
	case err != nil:
		log = fmt.Sprintf("(not to be read: %v)", err)
	case log == "":
		log = "(it wrote nothing)"
	}
	return fmt.Errorf("%s; the end of its log:\n%s", text, last(log, lastLines))
}

// ended is how a container ended.
type ended struct {
	code   string
	killed bool // for want of memory
}

// lastEnd looks among Docker's events, of which it keeps the last 256, for the end before the present start.
func (t *Target) lastEnd(ctx context.Context, c container.InspectResponse) ended {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	result := t.client.Events(ctx, client.EventsListOptions{
		Since: c.Created, Until: c.State.StartedAt,
		Filters: make(client.Filters).Add("container", c.ID).Add("event", "die", "oom"),
	})
	var found ended
	for {
		select {
		case event := <-result.Messages:
			switch event.Action {
			case "oom":
				found.killed = true
			case "die":
				found.code = event.Actor.Attributes["exitCode"]
			}
		case <-result.Err: //nolint:errcheck // io.EOF at the end; of another error nothing more is known either
			return found
		}
	}
}

// missing are the components of the release that have no container.
func missing(there []container.InspectResponse) []string {
	var all []string
	for _, c := range there {
		var of []string
		if json.Unmarshal([]byte(c.Config.Labels[labelComponents]), &of) == nil {
			all = append(all, of...)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(component string) bool {
		return slices.ContainsFunc(there, func(c container.InspectResponse) bool { return c.Config.Labels[labelComponent] == component })
	})
}

// instance is what the containers of a slot say they are.
func (t *Target) instance(name deploy.Slot, there []container.InspectResponse) (deploy.Instance, error) {
	instance := deploy.Instance{Slot: name, Endpoints: map[string]*url.URL{}}
	for _, c := range there {
		labels := c.Config.Labels
		inside, err := strconv.Atoi(labels[labelPort])
		if err != nil {
			return instance, fmt.Errorf("container %s: label %s: %w", c.Name, labelPort, err)
		}
		address, err := t.address(c, inside)
		if err != nil {
			return instance, err
		}
		component := labels[labelComponent]
		instance.Release.Version = labels[labelRelease]
		instance.Release.Units = append(instance.Release.Units, deploy.Unit{Component: component, Artifact: c.Config.Image, Port: inside})
		instance.Endpoints[component] = endpoint(address)
	}
	return instance, nil
}
