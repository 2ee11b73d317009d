package router

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// upstream is the connections to one component of a slot.
//
// It is not an http.Transport because that one pays for two goroutines a connection and four channel operations a request,
// which is most of what httputil.ReverseProxy costs; here the goroutine that serves the client writes the request and
// reads the answer. Answers are read by net/http (http.ReadResponse).
//
// A kept connection may be closed by the application at the moment the router writes a request into it, and then nobody
// knows whether the request was worked on (golang/go#22158). Such a request is sent again only where doing it twice is
// harmless: GET, HEAD, OPTIONS, TRACE without a body. Every other request gets a connection of its own, which no server
// closes for being idle: a POST costs a handshake (tens of microseconds beside the application) and is never lost.
type upstream struct {
	component string
	address   string // host:port
	base      string // path before every request's, without a slash at its end
	tls       *tls.Config

	mu     sync.Mutex
	idle   []*wire // the one used last at the end
	reaper *time.Timer
	closed bool
}

func newUpstream(component, rawURL string) (*upstream, error) {
	endpoint, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	port := endpoint.Port()
	u := &upstream{component: component, base: strings.TrimRight(endpoint.EscapedPath(), "/")}
	if endpoint.Scheme == "https" {
		u.tls = &tls.Config{ServerName: endpoint.Hostname(), MinVersion: tls.VersionTLS12}
	}
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[u.tls != nil]
	}
	u.address = net.JoinHostPort(endpoint.Hostname(), port)
	return u, nil
}

// take is a connection that was used before, nil where there is none that may still be open.
func (u *upstream) take(now time.Time) *wire {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.idle) > 0 {
		last := len(u.idle) - 1
		w := u.idle[last]
		u.idle[last] = nil
		u.idle = u.idle[:last]
		if since := now.Sub(w.idleSince); since > upstreamIdle || since > trusted && !w.quiet() {
			_ = w.conn.Close()
			continue
		}
		w.reset()
		return w
	}
	return nil
}

// dial makes a new connection. TLS is spoken where the endpoint's URL says so. One that is for a single request needs no
// probes of TCP, which cost four system calls.
func (u *upstream) dial(ctx context.Context, single bool) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := net.Dialer{}
	if single {
		dialer.KeepAlive = -1
	}
	connection, err := dialer.DialContext(ctx, "tcp", u.address)
	if err != nil {
		return nil, err
	}
	if u.tls == nil {
		return newWire(connection, connection), nil
	}
	secured := tls.Client(connection, u.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	return newWire(secured, connection), nil
}

// keep puts a connection back whose answer was read to its end.
func (u *upstream) keep(w *wire, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || len(u.idle) >= upstreamIdleConns {
		_ = w.conn.Close()
		return
	}
	w.idleSince = now
	u.idle = append(u.idle, w)
	if u.reaper == nil {
		u.reaper = time.AfterFunc(upstreamIdle, u.reap)
	}
}

// reap closes what was idle for too long. It runs while there is something idle.
func (u *upstream) reap() {
	u.mu.Lock()
	defer u.mu.Unlock()
	limit := time.Now().Add(-upstreamIdle)
	old := 0
	for old < len(u.idle) && u.idle[old].idleSince.Before(limit) {
		_ = u.idle[old].conn.Close()
		old++
	}
	u.idle = append(u.idle[:0], u.idle[old:]...)
	if len(u.idle) == 0 {
		u.reaper = nil
		return
	}
	u.reaper.Reset(upstreamIdle)
}

// closeIdle closes what no request uses; retire also keeps nothing from then on.
func (u *upstream) closeIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.idle {
		_ = w.conn.Close()
	}
	u.idle = nil
}

func (u *upstream) retire() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.closeIdle()
}

func repeatable(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return request.Body == nil || request.Body == http.NoBody
	}
	return false
}

// errHeadTooLarge is an answer whose header is over maxAnswerHeader.
var errHeadTooLarge = errors.New("the header of the answer is too large")

var _ io.Reader = (*wire)(nil)
