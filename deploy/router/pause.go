package router

import (
	"context"
	"time"
)

// pause holds new requests until it is over.
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
	r.change.Lock() // no handover is under way
	defer r.change.Unlock()
	if err := r.changeable(); err != nil {
		return err
	}
	r.mu.Lock() // no request is between the choice of its slot and its count there
	defer r.mu.Unlock()
	if r.pause == nil {
		r.pause = &pause{over: make(chan struct{})}
	}
	p := r.pause
	p.until = time.Now().Add(limit)
	// A timer is never stopped: it does nothing where its pause is over or was prolonged.
	time.AfterFunc(limit, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.pause == p && !time.Now().Before(p.until) {
			r.open()
		}
	})
	return nil
}

// Resume lets held requests go on. It reports whether they were still held: false means that the limit passed first, and
// that what was done meanwhile was not done in quiet.
func (r *Router) Resume() (stillHeld bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pause == nil {
		return false
	}
	r.open()
	return true
}

// open ends the pause. mu is held.
func (r *Router) open() {
	close(r.pause.over)
	r.pause = nil
}

// Idle waits until no request is in flight on any slot, or until ctx ends, and returns how many were left. On a paused
// router that is the moment nothing reads or writes the database.
func (r *Router) Idle(ctx context.Context) (left int) {
	for _, e := range r.current().entries {
		left += e.slot.flight.wait(ctx)
	}
	return left
}
