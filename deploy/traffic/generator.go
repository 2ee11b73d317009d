// Package traffic is the clients of a rehearsal: a steady stream of requests over kept connections, and an account of
// every one of them. It is what the promise "no request was dropped" rests on, so it counts each error, retries nothing
// and measures from the moment a request was due, not from the moment a slow server let it out (coordinated omission).
// It sends to the URL it is given and nowhere else.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metaextract/pipeline/ci/report"
)

// Defaults of Options.
const (
	DefaultClients = 8
	DefaultRate    = 50
	DefaultTimeout = 10 * time.Second
)

// maxLag bounds how far the clients may fall behind their schedule. What is due longer ago than that is left out and
// counted as unsent: a server that answers slower than the rate would otherwise be charged an ever longer queue that is
// our clients' own.
const maxLag = time.Second

// Options of a generator.
type Options struct {
	Target   string // base URL: http://127.0.0.1:8080
	Requests []Request
	Clients  int           // concurrent clients, each with one kept connection
	Rate     int           // requests a second over all clients
	Timeout  time.Duration // of each request, until its answer is read
	// Now is the clock that samples are stamped with; nil means time.Now.
	Now func() time.Time
}

// Generator sends traffic from Start to Stop. All methods are safe for concurrent use.
type Generator struct {
	options Options
	ledger  *ledger

	mu      sync.Mutex
	begun   time.Time
	end     context.CancelFunc // ends the schedule; requests in flight go on
	ending  context.Context
	clients sync.WaitGroup

	arrivals atomic.Int64 // how many requests have been taken from the schedule
}

// New makes a generator. Zero options get their defaults; what cannot work is said by Start.
func New(options Options) *Generator {
	if options.Clients == 0 {
		options.Clients = DefaultClients
	}
	if options.Rate == 0 {
		options.Rate = DefaultRate
	}
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Generator{options: options, ledger: newLedger(options.Clients)}
}

// Start begins to send and returns at once. The traffic ends with Stop; when ctx ends first, requests in flight are
// aborted and not counted, as it was not the server who broke them off.
func (g *Generator) Start(ctx context.Context) error {
	target, err := url.Parse(g.options.Target)
	switch {
	case err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return fmt.Errorf("start traffic: target %q is not a URL; give one like http://127.0.0.1:8080", g.options.Target)
	case len(g.options.Requests) == 0:
		return errors.New("start traffic: there is no request to send; list some under rehearsal.requests")
	case g.options.Clients < 0 || g.options.Rate < 0 || g.options.Timeout < 0:
		return errors.New("start traffic: clients, rate and timeout must be positive")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.end != nil {
		return errors.New("start traffic: it was started before; make a new generator")
	}
	g.begun = g.options.Now()
	g.ledger.begin(g.begun)
	g.ending, g.end = context.WithCancel(ctx)
	for i, requests := range share(g.options.Requests, g.options.Clients) {
		client := newClient(g, requests, i)
		g.clients.Go(func() { client.run(ctx) })
	}
	return nil
}

// Mark notes that something happens now.
func (g *Generator) Mark(label string) { g.ledger.mark(g.options.Now(), label) }

// Snapshot is the account so far.
func (g *Generator) Snapshot() Result { return g.ledger.result() }

// Stop lets requests in flight end and returns the account. Stopping twice returns the same.
func (g *Generator) Stop() *report.Traffic {
	g.mu.Lock()
	if g.end != nil {
		g.end()
	}
	g.mu.Unlock()
	g.clients.Wait()
	result := g.ledger.result()
	return &result.Traffic
}

// next takes a request's time from the schedule: one every 1/Rate seconds, whichever client is free. The schedule does
// not wait for answers. ok is false when the traffic is over.
func (g *Generator) next() (due time.Time, ok bool) {
	for {
		n := g.arrivals.Add(1) - 1
		due = g.begun.Add(time.Duration(float64(n) / float64(g.options.Rate) * float64(time.Second)))
		wait := due.Sub(g.options.Now())
		if wait < -maxLag {
			g.ledger.unsent()
			continue
		}
		if wait <= 0 {
			return due, g.ending.Err() == nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			return due, true
		case <-g.ending.Done():
			timer.Stop()
			return due, false
		}
	}
}

// share deals the requests to the clients: half of the clients write, half read, so that a deployment always meets both.
func share(requests []Request, clients int) [][]Request {
	reads, writes := split(requests)
	all := make([][]Request, clients)
	for i := range all {
		switch {
		case len(writes) > 0 && (i%2 == 0 || len(reads) == 0):
			all[i] = writes
		default:
			all[i] = reads
		}
	}
	return all
}
