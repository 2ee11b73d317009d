package router

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// statusClientClosed is nginx's status for a client that went away before it was answered. It reaches logs and counters.
const statusClientClosed = 499

// newProxy proxies to one component of a slot.
func newProxy(s *slot, endpoint *url.URL, r *Router) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { rewrite(p, endpoint, r.options.TrustForwarded) },
		Transport: s.upstream,
		// FlushInterval stays 0: ReverseProxy flushes text/event-stream and answers of unknown length after every write
		// by itself, and buffering the others saves a system call each.
		BufferPool: &buffers,
		ErrorLog:   slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
		ModifyResponse: func(response *http.Response) error {
			s.sign(response.Header)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) {
			s.fail(w, request, endpoint, err, r)
		},
	}
}

func rewrite(p *httputil.ProxyRequest, endpoint *url.URL, trustForwarded bool) {
	p.SetURL(endpoint)
	p.Out.Host = p.In.Host
	// ReverseProxy drops what it cannot parse of a query (golang/go#54663). The router decides nothing by the query, and
	// an application that reads "a;b" its own way must get it.
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	if !trustForwarded {
		p.SetXForwarded()
		return
	}
	p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
	p.SetXForwarded()
	for _, name := range []string{"X-Forwarded-Proto", "X-Forwarded-Host"} {
		if value := p.In.Header.Get(name); value != "" {
			p.Out.Header.Set(name, value)
		}
	}
}

// fail answers for a component that did not. The client gets no details; the log does.
func (s *slot) fail(w http.ResponseWriter, request *http.Request, endpoint *url.URL, err error, r *Router) {
	outcome, status, text := judge(request, err)
	if answer, ok := w.(*answer); ok {
		answer.outcome = outcome
	}
	if outcome != clientAborted {
		r.logger.Warn("proxy failed", "slot", s.name, "release", s.instance.Release, "endpoint", endpoint.Host,
			"method", request.Method, "path", request.URL.Path, "status", status, "error", err)
	}
	s.sign(w.Header())
	http.Error(w, text, status)
}

func judge(request *http.Request, err error) (outcome outcome, status int, text string) {
	var timeout net.Error
	switch {
	case errors.Is(request.Context().Err(), context.Canceled):
		return clientAborted, statusClientClosed, "client closed request"
	case errors.As(err, &timeout) && timeout.Timeout():
		return gatewayTimeout, http.StatusGatewayTimeout, "the application did not answer in time"
	default:
		return badGateway, http.StatusBadGateway, "the application did not answer"
	}
}

// answer notes the status of what is sent to the client. It is reached through Unwrap by http.ResponseController, which
// is how ReverseProxy flushes.
type answer struct {
	http.ResponseWriter
	status  int
	outcome outcome
}

func (a *answer) WriteHeader(status int) {
	if status >= http.StatusOK {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Hijack notes the upgrade of the connection: ReverseProxy sends the status on the hijacked connection itself.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.status = http.StatusSwitchingProtocols
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// bufferPool lends ReverseProxy its copy buffers, which it would otherwise make anew for each request.
type bufferPool struct{ pool sync.Pool }

// bufferSize is what io.Copy and ReverseProxy use by themselves.
const bufferSize = 32 << 10

var buffers bufferPool

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(buffer []byte) { b.pool.Put(&buffer) }
