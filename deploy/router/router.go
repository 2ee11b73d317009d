// Package router is the data plane of a deployment: it proxies every request to the slot that rules and weights choose,
// counts what is in flight there, and changes its mind without touching a client's connection. A deployment drives it
// through deploy.Splitter, in process or over the socket of deploy/router/control.
//
// A request goes to the slot of the first rule that matches it, to the variant that an experiment draws for its cohort, or
// where its cohort's point in [0, 100) falls among the weights. How each ended is kept as a Record, which is what a canary
// decides by.
//
// It is imperative, as kamal-proxy is: a call returns when what it asked for is true. It starts no process, checks no
// health and decides nothing: who may have traffic is the deployment's business. What comes from the network is parsed by
// net/http alone.
//
// Why our own: every reload of nginx, HAProxy and Caddy closes idle client connections, which loses requests that
// cannot be sent twice (measured: 0.6 to 0.95 POSTs a Caddy reload), and none of them has a drain that returns.
package router

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// The router's own response headers. They name who answered, so that a client can tell releases apart; a header of that
// name from the application is replaced.
const (
	SlotHeader    = "X-Pipeline-Slot"
	ReleaseHeader = "X-Pipeline-Release"
)

// Options of a router. The zero value works.
type Options struct {
	// State is the file that every change is written to before it takes effect; empty for none.
	State string
	// ResponseTimeout bounds the time from the whole request sent to the first byte of the answer.
	ResponseTimeout time.Duration
	// Grace bounds how long Serve waits for requests in flight when it is told to end.
	Grace time.Duration
	// Jitter is over how long a drain spreads the end of WebSockets and streams of events.
	Jitter time.Duration
	// Limits bound what clients may do.
	Limits Limits
	// Identity says by what a client's cohort is known.
	Identity Identity
	// TrustForwarded keeps X-Forwarded-* of the request, for a router behind another proxy. Otherwise they are dropped:
	// any client could claim any address.
	TrustForwarded bool
	// TLS makes Serve speak TLS, and HTTP/2 with clients that can. Nil is plain text. See Certificate.
	TLS *tls.Config
	// PlainHTTP2 makes Serve understand HTTP/2 without TLS (h2c) besides HTTP/1, as a proxy in front may speak it.
	PlainHTTP2 bool
	// Exclude are paths, health checks for instance, that are in no counter, record or percentile.
	Exclude []string
	// Records is how many records a slot keeps for readers. Zero means DefaultRecords.
	Records int
	// Access gets a line of JSON for each request while Serve runs; nil for none.
	Access io.Writer
	// Logger gets one line per failure that the router itself answers. Default: discard.
	Logger *slog.Logger
}

// Router is an http.Handler that splits traffic between slots. All methods are safe for concurrent use.
type Router struct {
	options Options
	limits  Limits
	logger  *slog.Logger
	access  *accessLog // nil for none
	routes  routeNames
	held    atomic.Int64
	issued  atomic.Int64

	change sync.Mutex // serialises changes: build, write the state file, swap

	mu    sync.RWMutex // held to read while a request picks its slot, to write while the table is swapped
	table *table
	pause *pause // nil: open

	countersMu sync.Mutex
	totals     map[deploy.Slot]*totals
	exposures  map[string]*exposure
	mirrored   mirrorCounts

	servingMu sync.Mutex
	serving   []*serving
	retiring  atomic.Bool
}

var (
	_ http.Handler    = (*Router)(nil)
	_ deploy.Splitter = (*Router)(nil)
)

// New is a router that knows no slot: it answers 503 until one is registered and has weight.
func New(options Options) *Router {
	options.Limits = options.Limits.orDefaults()
	options.Identity = options.Identity.canonical()
	if options.ResponseTimeout == 0 {
		options.ResponseTimeout = DefaultResponseTimeout
	}
	if options.Grace == 0 {
		options.Grace = DefaultGrace
	}
	if options.Jitter == 0 {
		options.Jitter = DefaultJitter
	}
	if options.Records <= 0 {
		options.Records = DefaultRecords
	}
	logger := options.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		options: options, limits: options.Limits, logger: logger, table: newTable(""),
		totals: map[deploy.Slot]*totals{}, exposures: map[string]*exposure{},
	}
	if options.Access != nil {
		r.access = newAccessLog(options.Access)
	}
	return r
}

// ServeHTTP sends a request to the slot that rules and weights choose and to the component that serves its path.
func (r *Router) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	arrived := time.Now()
	chosen, mirror, held, ok := r.acquire(w, request)
	if !ok {
		w.WriteHeader(statusClientClosed) // nobody reads it
		return
	}
	if chosen.slot == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "no release has traffic yet", http.StatusServiceUnavailable)
		return
	}
	defer chosen.slot.flight.done()
	x := &exchange{router: r, slot: chosen.slot, choice: chosen, w: w, request: request, started: arrived, extended: arrived}
	if held {
		x.started = time.Now() // the application is not to blame for the pause
	}
	if chosen.newCohort != "" {
		r.issued.Add(1)
	}
	if mirror != nil {
		x.capture = mirror.take(request, chosen.slot)
	}
	chosen.slot.serve(x)
}

// acquire picks a slot and counts the request there under one read lock. A swap takes the write lock, so that once Shift
// has returned, every request that chose the old table is in its slot's count and Drain sees it; and so does a pause, so
// that once Pause has returned, Idle sees every request that went through before. It is not ok when the client left first.
func (r *Router) acquire(w http.ResponseWriter, request *http.Request) (chosen choice, mirror *mirroring, held, ok bool) {
	for {
		r.mu.RLock()
		paused := r.pause
		if paused == nil {
			chosen = r.table.pick(request, &r.options.Identity, r.options.TrustForwarded)
			mirror = r.table.mirror
			if chosen.slot != nil {
				chosen.slot.flight.add()
			}
			r.mu.RUnlock()
			return chosen, mirror, held, true
		}
		r.mu.RUnlock()
		if !held {
			held = true
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // an HTTP/2 stream would end at it
		}
		if !r.hold(request.Context(), paused) {
			return choice{}, nil, held, false
		}
	}
}

// hold waits for the end of a pause; false when ctx ended first.
func (r *Router) hold(ctx context.Context, paused *pause) bool {
	r.held.Add(1)
	defer r.held.Add(-1)
	select {
	case <-paused.over:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Router) current() *table {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.table
}

func (r *Router) excludes(path string) bool {
	return len(r.options.Exclude) > 0 && slices.Contains(r.options.Exclude, path)
}

// statusClientClosed is nginx's status for a client that went away before it was answered. It reaches logs and counters.
const statusClientClosed = 499
