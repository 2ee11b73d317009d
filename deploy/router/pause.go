package router

import (
	"context"
	"sync"
	"time"
)

// gate holds new requests while the router is paused. The zero value is open.
type gate struct {
	mu    sync.Mutex
	pause *pause // nil: open
	held  int
}

type pause struct {
	over  chan struct{} // closed when the pause ends
	until time.Time
}

// Pause holds new requests until Resume, or until limit has passed: requests are late then, none is dropped, and a router
// whose operator died opens by itself. Requests in flight go on; wait for them with Drain after Shift, or with Idle.
// Pausing a paused router sets the limit anew.
func (r *Router) Pause(limit time.Duration) error {
	if limit <= 0 {
		return invalid("a pause needs a limit", "say after how long requests may go on without Resume: 30s")
	}
	r.gate.close(limit)
	return nil
}

// Resume lets held requests go on. It reports whether they were still held: false means that the limit passed first, and
// that what was done meanwhile was not done in quiet.
func (r *Router) Resume() (stillHeld bool) {
	return r.gate.release()
}

// Idle waits until no request is in flight on any slot, or until ctx ends, and returns how many were left. On a paused
// router that is the moment nothing reads or writes the database.
func (r *Router) Idle(ctx context.Context) (left int) {
	for _, e := range r.current().entries {
		left += e.slot.flight.wait(ctx)
	}
	return left
}

func (g *gate) close(limit time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause == nil {
		g.pause = &pause{over: make(chan struct{})}
	}
	p := g.pause
	p.until = time.Now().Add(limit)
	// A timer is never stopped: it does nothing where its pause is over or was prolonged.
	time.AfterFunc(limit, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.pause == p && !time.Now().Before(p.until) {
			g.end()
		}
	})
}

func (g *gate) release() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause == nil {
		return false
	}
	g.end()
	return true
}

func (g *gate) end() {
	close(g.pause.over)
	g.pause = nil
}

// pass returns once the gate is open; false when ctx ended first.
func (g *gate) pass(ctx context.Context) bool {
	g.mu.Lock()
	if g.pause == nil {
		g.mu.Unlock()
		return true
	}
	over := g.pause.over
	g.held++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.held--
		g.mu.Unlock()
	}()
	select {
	case <-over:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *gate) status() (paused bool, held int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause != nil, g.held
}
