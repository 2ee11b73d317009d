// Package router is the data plane of a deployment: it proxies every request to the slot that the weights choose, counts
// what is in flight there, and changes its mind without touching a client's connection. A deployment drives it through
// deploy.Splitter, in process or over the socket of deploy/router/control.
//
// It is imperative, as kamal-proxy is: a call returns when what it asked for is true. It starts no process, checks no
// health and decides nothing: who may have traffic is the deployment's business.
//
// Why our own: every reload of nginx, HAProxy and Caddy closes idle client connections, which loses requests that
// cannot be sent twice (measured: 0.6 to 0.95 POSTs a Caddy reload), and none of them has a drain that returns.
package router

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// The router's own response headers. They name who answered, so that a client can tell releases apart; a header of that
// name from the application is replaced.
const (
	SlotHeader    = "X-Pipeline-Slot"
	ReleaseHeader = "X-Pipeline-Release"
)

// Defaults of Options.
const (
	DefaultResponseTimeout = 60 * time.Second
	DefaultGrace           = 30 * time.Second
)

// Limits that are not options, with the reason for each.
const (
	// upstreamIdle must be below the application's own keep-alive, or the router writes into a connection that the
	// application is closing: Node closes after 5 s, uvicorn after 5 s.
	upstreamIdle = 4 * time.Second
	// upstreamIdleConns is how many idle connections a slot keeps to each component; net/http's default of 2 makes a
	// new connection for nearly every request under load.
	upstreamIdleConns = 128
	dialTimeout       = 5 * time.Second
	// readHeader bounds a client that sends its headers slowly; bodies are unbounded, they may be uploads.
	readHeader = 10 * time.Second
	// clientIdle is above the 60 s after which common load balancers give up an idle connection, so that the balancer
	// closes first and never writes into a connection that the router is closing.
	clientIdle = 120 * time.Second
	maxHeader  = 64 << 10
)

// Options of a router. The zero value works.
type Options struct {
	// State is the file that every change is written to before it takes effect; empty for none.
	State string
	// ResponseTimeout bounds the time from the whole request sent to the first byte of the answer.
	ResponseTimeout time.Duration
	// Grace bounds how long Serve waits for requests in flight when it is told to end.
	Grace time.Duration
	// TrustForwarded keeps X-Forwarded-* of the request, for a router behind another proxy. Otherwise they are dropped:
	// any client could claim any address.
	TrustForwarded bool
	// Logger gets one line per failure that the router itself answers. Default: discard.
	Logger *slog.Logger
}

// Router is an http.Handler that splits traffic between slots. All methods are safe for concurrent use.
type Router struct {
	options Options
	logger  *slog.Logger
	gate    gate

	change sync.Mutex // serialises changes: build, write the state file, swap

	mu    sync.RWMutex // held to read while a request picks its slot, to write while the table is swapped
	table *table
}

var (
	_ http.Handler    = (*Router)(nil)
	_ deploy.Splitter = (*Router)(nil)
)

// New is a router that knows no slot: it answers 503 until one is registered and has weight.
func New(options Options) *Router {
	if options.ResponseTimeout == 0 {
		options.ResponseTimeout = DefaultResponseTimeout
	}
	if options.Grace == 0 {
		options.Grace = DefaultGrace
	}
	logger := options.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Router{options: options, logger: logger, table: newTable("")}
}

// ServeHTTP sends a request to the slot that the weights choose and to the component that serves its path.
func (r *Router) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if !r.gate.pass(request.Context()) {
		w.WriteHeader(statusClientClosed) // nobody reads it
		return
	}
	slot, cohort := r.acquire(request)
	if slot == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "no release has traffic yet", http.StatusServiceUnavailable)
		return
	}
	defer slot.flight.done()
	if cohort != "" {
		setCohort(w, request, cohort)
	}
	slot.serve(w, request)
}

// acquire picks a slot and counts the request there under one read lock. A swap takes the write lock, so that once Shift
// has returned, every request that chose the old table is in its slot's count and Drain sees it.
func (r *Router) acquire(request *http.Request) (slot *slot, newCohort string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	slot, newCohort = r.table.pick(request)
	if slot != nil {
		slot.flight.add()
	}
	return slot, newCohort
}

func (r *Router) current() *table {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table
}
