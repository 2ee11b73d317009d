package supervisor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router/control"
)

// Options of a Client.
type Options struct {
	// Dir is the environment's directory, see Directory.
	Dir string
	// Listen is the address of the router's traffic where the environment is new; empty for a free port of 127.0.0.1.
	Listen string
	// Env is what every unit gets beside its own Env, as "NAME=value".
	Env []string
	// Secrets are the variables of units, by name, whose values are secrets: no log shows them and no file holds them.
	Secrets map[string]string
	// Memory is how many bytes a unit may use, by component, see process.Keeping.
	Memory map[string]int64
	// Launch is the command line that calls Run, with these flags added: --dir, --listen. LaunchEnv is its environment,
	// which should hold no secret: it is not that of the units.
	Launch, LaunchEnv []string

	at func(point string) // for tests: called where a kill is tried, and when a request has been sent
}

// Client drives a supervisor. What it started goes on when the process that holds the Client ends.
type Client struct {
	options Options
	http    *http.Client
	keeper  int // its process id, which stays the same when the supervisor is replaced; 0 for none
	closed  atomic.Bool
}

var (
	_ deploy.Inspector = (*Client)(nil)
	_ deploy.Quieter   = (*Client)(nil)
)

// Open finds the environment's supervisor, or launches one, and has it restore what was lost with an earlier one. A slot
// that could not be restored is no error here: Alive and Status say so.
func Open(ctx context.Context, options Options) (*Client, error) {
	c, err := newClient(options)
	if err != nil {
		return nil, err
	}
	c.at("opening")
	status, err := c.Status(ctx)
	if cutOff(err) { // it was killed before it answered
		status, err = c.Status(ctx)
	}
	if isAway(err) {
		if err = launch(ctx, c); err == nil {
			c.at("launched")
			status, err = c.Status(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open environment %s: %w", options.Dir, err)
	}
	c.keeper = status.Keeper
	for _, one := range status.Slots {
		if one.Phase != string(lost) {
			continue
		}
		if err := c.call(ctx, http.MethodPost, "/slots/"+url.PathEscape(string(one.Slot))+"/restore", restoreMessage{options.Secrets}, &problemMessage{}); err != nil {
			return nil, fmt.Errorf("open environment %s: restore slot %s: %w", options.Dir, one.Slot, err)
		}
	}
	c.at("opened")
	return c, nil
}

func newClient(options Options) (*Client, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	return &Client{options: options, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			connection, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, socketFile))
			if err == nil && options.at != nil {
				connection = &observed{connection, options.at}
			}
			return connection, err
		},
	}}}, nil
}

func (c *Client) at(point string) {
	if c.options.at != nil {
		c.options.at(point)
	}
}

// Splitter is the environment's router.
func (c *Client) Splitter() *control.Client {
	return control.NewClient(filepath.Join(c.options.Dir, routerSocket))
}

// Status says how the environment is doing.
func (c *Client) Status(ctx context.Context) (status Status, err error) {
	return status, c.call(ctx, http.MethodGet, "/status", nil, &status)
}

// undoPatience bounds taking back a start whose answer was not received.
const undoPatience = 30 * time.Second

// Start implements deploy.Target.
func (c *Client) Start(ctx context.Context, name deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	instance := deploy.Instance{Slot: name, Release: release, Endpoints: map[string]*url.URL{}}
	if c.closed.Load() {
		return instance, errors.New("the target is closed")
	}
	asked := startMessage{Token: rand.Text(), Release: release, Env: c.options.Env, Secrets: c.options.Secrets, Memory: c.options.Memory}
	asked.Release.Units = slices.Clone(release.Units)
	for i, u := range asked.Release.Units {
		artifact, err := filepath.Abs(u.Artifact) // the supervisor works elsewhere
		if err != nil {
			return instance, err
		}
		asked.Release.Units[i].Artifact = artifact
	}
	var answer startedMessage
	err := c.call(ctx, http.MethodPut, slotPath(name), asked, &answer)
	c.at("start: answered")
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		// Whether it was done is not known here. The supervisor knows, and if it has died everything has.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
		defer cancel()
		if undone := c.call(bounded, http.MethodDelete, slotPath(name), stopMessage{Token: asked.Token}, nil); undone != nil && !isAway(undone) {
			err = errors.Join(err, undone)
		}
	}
	for component, text := range answer.Endpoints {
		endpoint, wrong := url.Parse(text)
		if wrong != nil {
			return instance, wrong
		}
		instance.Endpoints[component] = endpoint
	}
	return instance, err
}

func slotPath(name deploy.Slot) string { return "/slots/" + url.PathEscape(string(name)) }

// Running implements deploy.Inspector. A slot that is being started or stopped, or is lost, runs nothing that could serve.
func (c *Client) Running(ctx context.Context, name deploy.Slot) (instance deploy.Instance, found bool, err error) {
	status, err := c.Status(ctx)
	if err != nil {
		return instance, false, err
	}
	for _, one := range status.Slots {
		if one.Slot != name || one.Phase != string(running) {
			continue
		}
		instance = deploy.Instance{Slot: name, Release: deploy.Release{Version: one.Release}, Endpoints: map[string]*url.URL{}}
		for _, u := range one.Units {
			if instance.Endpoints[u.Component], err = url.Parse(u.URL); err != nil {
				return instance, false, err
			}
		}
		return instance, true, nil
	}
	return instance, false, nil
}

// Alive implements deploy.Target. A unit that ended counts as ended until it has run again for two seconds.
func (c *Client) Alive(ctx context.Context, name deploy.Slot) error {
	var answer problemMessage
	if err := c.call(ctx, http.MethodGet, slotPath(name)+"/alive", nil, &answer); err != nil {
		return err
	}
	if answer.Problem != "" {
		return errors.New(answer.Problem)
	}
	return nil
}

// Logs implements deploy.Target. They begin with the supervisor; files in the environment's directory go back further.
func (c *Client) Logs(ctx context.Context, name deploy.Slot) (logs map[string]string, err error) {
	return logs, c.call(ctx, http.MethodGet, slotPath(name)+"/logs", nil, &logs)
}

// Quiet implements deploy.Quieter: workers get the stop signal, finish the job they have and end, see process.Kept. A
// supervisor that is replaced meanwhile starts them again.
func (c *Client) Quiet(ctx context.Context, name deploy.Slot) error {
	return c.call(ctx, http.MethodPost, slotPath(name)+"/quiet", nil, nil)
}

// Wake implements deploy.Quieter: workers are started again, once they have finished the job they had.
func (c *Client) Wake(ctx context.Context, name deploy.Slot) error {
	return c.call(ctx, http.MethodPost, slotPath(name)+"/wake", nil, nil)
}

// stopSlack is what the answer to a stop may take beyond its deadline: what is left is being killed.
const stopSlack = 10 * time.Second

// Stop implements deploy.Target. At ctx's deadline what is left is killed; when ctx is canceled nobody waits for it any
// more, and the supervisor finishes it.
func (c *Client) Stop(ctx context.Context, name deploy.Slot) error {
	var asked stopMessage
	waiting := ctx
	if deadline, ok := ctx.Deadline(); ok {
		asked.Milliseconds = max(1, min(time.Until(deadline), maxLimit).Milliseconds())
		patient, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(stopSlack))
		defer cancel()
		defer context.AfterFunc(ctx, func() {
			if errors.Is(ctx.Err(), context.Canceled) {
				cancel()
			}
		})()
		waiting = patient
	}
	err := c.call(waiting, http.MethodDelete, slotPath(name), asked, nil)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("stop slot %s: %w: %w", name, context.Cause(ctx), err)
	}
	return err
}

// Close implements deploy.Target: it stops every slot of the environment, and the Client starts nothing after it. A command
// whose slots are to go on does not call it; there is nothing else to let go of. The supervisor and its router go on.
func (c *Client) Close(ctx context.Context) error {
	c.closed.Store(true)
	status, err := c.Status(ctx)
	if isAway(err) {
		return nil
	}
	if err != nil {
		return err
	}
	errs := make([]error, len(status.Slots))
	var all sync.WaitGroup
	for i, one := range status.Slots {
		all.Go(func() { errs[i] = c.Stop(ctx, one.Slot) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// downLimit bounds a down: the end of the environment, and the wait for what an earlier supervisor left.
const downLimit = endGrace + lockPatience

// Down ends an environment: its router once no request is in flight, then its units by SIGTERM and SIGKILL, then the
// supervisor, and removes its directory. It says what it ended. An environment that is not there is no error.
func Down(ctx context.Context, dir string) (ended []string, err error) {
	c, err := newClient(Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, downLimit)
	defer cancel()
	for {
		var answer endedMessage
		err := c.call(ctx, http.MethodPost, "/down", struct{}{}, &answer)
		if err == nil || isAway(err) {
			err = remove(ctx, c.options.Dir)
		}
		if errors.Is(err, errServed) { // a keeper was faster than we were
			continue
		}
		if err != nil {
			return answer.Ended, fmt.Errorf("end environment %s: %w", dir, err)
		}
		return answer.Ended, nil
	}
}
