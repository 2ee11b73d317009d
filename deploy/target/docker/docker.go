// Package docker runs releases as containers of one Docker host: a slot is one container for each unit. The host is
// reached by its socket or over SSH; several hosts are several targets.
//
// What runs belongs to the host, not to the process that started it: containers survive the end of the pipeline and the
// restart of the machine, and everything that a later run needs to know stands in their labels. So a target keeps nothing
// that a killed run could lose: the next one finds what is there, takes over what the same deployment has started, and
// clears away what it has only created.
//
// A container is only reachable from its host's loopback, at a port that stays the same when Docker restarts it; or, where
// a network is named, only from that network and under a name. It gets no privilege that its program does not have, and
// the log driver is the host's own. Its environment goes to Docker through the API and is in no command line and no
// label; whoever may ask Docker can see it, and may do anything else on the host too.
//
// It never builds an image and never changes the host's configuration. Its callers are a deployment, and a fleet that
// drives one target for each host.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/redact"
)

const (
	// DefaultStop is how long a unit may take from its stop signal to its end, as of `docker stop`.
	DefaultStop = 10 * time.Second
	// DefaultFirstPort is the first of the ports of the host's loopback that units get.
	DefaultFirstPort = 20000
	// DefaultLastPort is the last of them: below those that Linux gives to outgoing connections
	// (net.ipv4.ip_local_port_range, 32768 to 60999).
	DefaultLastPort = 29999
	// port is where a unit listens in its container that is not told to listen elsewhere.
	port = 8080
	// address is for the Host header: connections are made by the target's host, and nobody looks the name up.
	address = "http://docker.invalid"
	// callPatience bounds one request to the daemon, beyond the time that is asked of it.
	callPatience = 30 * time.Second
)

// Options of a target.
type Options struct {
	// Host is unix:///path/to/docker.sock or ssh://user@host:port; empty means DefaultHost.
	Host string
	// Application and Environment tell apart what runs on the host. Both are required.
	Application, Environment string
	// Deployment is the token of the deployment that starts releases: with the same token, Start takes over what a killed
	// run of this deployment has left. It is a label, not a secret. Required.
	Deployment string
	// Network is a user-defined network of the host that units join and where the router is. Endpoints are then names in
	// that network. Empty: endpoints are ports of the host's 127.0.0.1.
	Network string
	// FirstPort and LastPort bound these ports. Zero means the defaults.
	FirstPort, LastPort int
	// Settings by component; those of "" are for components that are not named.
	Settings map[string]Settings
	// Login returns the user and password of a registry ("registry.example.com"), or "" where it needs none. Nil: none.
	Login func(ctx context.Context, registry string) (user, password string, err error)
	// Redact are texts that no log and no error may show.
	Redact []string
}

// Settings of a component's containers. Zero is no limit.
type Settings struct {
	Memory   int64   // bytes; swap is not given beyond it
	CPUs     float64 // processors: 0.5 is half of one
	PIDs     int64   // processes and threads
	ReadOnly bool    // root file system; /tmp stays writable, in memory
	// Quiet is the signal that tells a worker to take no new jobs: SIGTSTP for Sidekiq.
	// Empty: it is never told.
	Quiet string
}

// settings are those of a component.
func (t *Target) settings(component string) Settings {
	if s, ok := t.options.Settings[component]; ok {
		return s
	}
	return t.options.Settings[""]
}

// Target implements deploy.Target, deploy.Inspector and deploy.Quieter.
type Target struct {
	options  Options
	host     *host
	client   *client.Client
	redactor *redact.Redactor

	mu     sync.Mutex
	closed bool
	slots  map[deploy.Slot]*slot
}

var (
	_ deploy.Inspector = (*Target)(nil)
	_ deploy.Quieter   = (*Target)(nil)
)

// slot is what this process knows of a slot beyond what the host knows.
type slot struct {
	change sync.Mutex // held by Start and Stop

	mu       sync.Mutex
	started  bool              // by this target
	logs     map[string]string // of what was stopped
	restarts map[string]int    // by container: how often Docker had restarted it when it was first seen
}

// New makes a target. It does not connect. Close or Detach it.
func New(options Options) (*Target, error) {
	fail := func(err error) (*Target, error) { return nil, fmt.Errorf("docker target: %w", err) }
	if options.Application == "" || options.Environment == "" || options.Deployment == "" {
		return fail(errors.New("application, environment and deployment are required: containers are found by them"))
	}
	if options.FirstPort == 0 && options.LastPort == 0 {
		options.FirstPort, options.LastPort = DefaultFirstPort, DefaultLastPort
	}
	if options.FirstPort < 1 || options.LastPort > 65535 || options.FirstPort > options.LastPort {
		return fail(fmt.Errorf("ports %d to %d: want a range within 1 to 65535", options.FirstPort, options.LastPort))
	}
	for component, s := range options.Settings {
		if s.Memory < 0 || s.CPUs < 0 || s.PIDs < 0 {
			return fail(fmt.Errorf("settings of component %q: a limit cannot be negative", component))
		}
		if s.Memory > 0 && s.Memory < leastMemory {
			return fail(fmt.Errorf("settings of component %q: memory of %d bytes is less than Docker's least, %d", component, s.Memory, leastMemory))
		}
	}
	for component, s := range options.Settings {
		if s.Quiet != "" && !signal.MatchString(s.Quiet) {
			return fail(fmt.Errorf("settings of component %q: %q is no signal; want one like SIGTSTP", component, s.Quiet))
		}
	}
	h, err := parseHost(options.Host)
	if err != nil {
		return fail(err)
	}
	c, err := client.New(
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4}}),
		client.WithHost(address), client.WithScheme("http"),
		client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) { return h.docker(ctx) }),
	)
	if err != nil {
		return fail(err)
	}
	return &Target{options: options, host: h, client: c, redactor: redact.Of(options.Redact...), slots: map[deploy.Slot]*slot{}}, nil
}

var signal = regexp.MustCompile(`^SIG[A-Z]+[0-9]*$`)

// leastMemory is the least memory that Docker allows as a limit, in bytes.
const leastMemory = 6 << 20

// DialContext connects to an address as the host sees it: an endpoint at its 127.0.0.1 from a machine that reaches the host
// only over SSH. It is a http.Transport's DialContext.
func (t *Target) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return t.host.dial(ctx, network, address)
}

// Forward makes a unix socket of the host, a router's for control, reachable at a path of this machine, until end is called:
// the same path where the host is this machine.
func (t *Target) Forward(ctx context.Context, socket string) (local string, end func() error, err error) {
	return t.host.forward(ctx, socket)
}

func (t *Target) slot(name deploy.Slot) *slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.slots[name]
	if !ok {
		s = &slot{restarts: map[string]int{}}
		t.slots[name] = s
	}
	return s
}

func (t *Target) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// Check says why the host cannot run what the options ask for: it does not answer, is no Linux, or cannot enforce a limit.
func (t *Target) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	result, err := t.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return fmt.Errorf("check Docker host %s: %w", t.host.name, t.explain(err))
	}
	info := result.Info
	errs := make([]error, 0, 4)
	if info.OSType != "linux" {
		errs = append(errs, fmt.Errorf("it runs %s containers; only linux is supported", info.OSType))
	}
	for component, s := range t.options.Settings {
		for _, limit := range []struct {
			name         string
			asked, there bool
		}{{"memory", s.Memory > 0, info.MemoryLimit}, {"CPUs", s.CPUs > 0, info.CPUCfsQuota}, {"PIDs", s.PIDs > 0, info.PidsLimit}} {
			if limit.asked && !limit.there {
				errs = append(errs, fmt.Errorf("its kernel cannot limit %s (settings of component %q): enable the control group, or remove the limit",
					limit.name, component))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check Docker host %s: %w", t.host.name, err)
	}
	return nil
}

// explain says of an error that the host did not answer, where it did not.
func (t *Target) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	var network net.Error
	if !client.IsErrConnectionFailed(err) && !errors.As(err, &network) {
		return err
	}
	cause := err
	if of := (*url.Error)(nil); errors.As(err, &of) { // without the address and the query, which are long and say nothing
		cause = of.Err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, t.host.name, &redacted{strings.ReplaceAll(cause.Error(), address, t.host.name), err})
}

// Close implements deploy.Target: it stops the slots that this target has started. The target cannot be used afterwards;
// closing twice is no error.
func (t *Target) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	var names []deploy.Slot
	for name, s := range t.slots {
		s.mu.Lock()
		if s.started {
			names = append(names, name)
		}
		s.mu.Unlock()
	}
	t.mu.Unlock()
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = t.Stop(ctx, name) })
	}
	all.Wait()
	return errors.Join(errors.Join(errs...), t.client.Close())
}

// Detach closes the connections and leaves everything running, which is how a deployment ends that went well. The target
// cannot be used afterwards.
func (t *Target) Detach() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	return t.client.Close()
}

var errClosed = errors.New("the target is closed")

// endpoint is where a unit listens.
func endpoint(address string) *url.URL { return &url.URL{Scheme: "http", Host: address} }
