package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// DefaultHost is where Docker listens on the machine itself.
const DefaultHost = "unix:///var/run/docker.sock"

// ErrUnreachable is what an error wraps when the host did not answer: nothing is known about what runs there.
var ErrUnreachable = errors.New("the Docker host does not answer")

const (
	connectPatience = 10 * time.Second
	keepAlive       = 15 * time.Second
)

// host is how a Docker host is reached.
type host struct {
	name string // for people
	// docker connects to the daemon, dial to an address as the host sees it.
	docker func(ctx context.Context) (net.Conn, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	// forward makes a unix socket of the host one of this machine.
	forward func(ctx context.Context, socket string) (local string, end func() error, err error)
}

// parseHost understands unix:///path and ssh://[user@]host[:port].
func parseHost(text string) (*host, error) {
	const want = "want unix:///path/to/docker.sock or ssh://user@host"
	if text == "" {
		text = DefaultHost
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("host: %s", want) // the text may have a password
	}
	dialer := &net.Dialer{Timeout: connectPatience, KeepAlive: keepAlive}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return &host{
			name:   u.Path,
			docker: func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "unix", u.Path) },
			dial:   dialer.DialContext,
			forward: func(_ context.Context, socket string) (string, func() error, error) {
				return socket, func() error { return nil }, nil
			},
		}, nil
	case u.Scheme == "ssh":
		s, err := parseSSH(u)
		if err != nil {
			return nil, err
		}
		return &host{name: s.name(), docker: s.docker, dial: s.dial, forward: s.forward}, nil
	default:
		return nil, fmt.Errorf("host %s: %s; Docker over TCP is root for whoever reaches the port, so it is not offered", u.Redacted(), want)
	}
}
