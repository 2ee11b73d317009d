package router

import (
	"fmt"
	"net"
)

// Estate is what a router leaves to the process that takes over.
type Estate struct {
	Table     []byte         // for Continue
	Listeners []net.Listener // what Serve was given: their file descriptors are to be passed on, nothing else
}

// Handover gives the traffic to another process: give passes the estate on and returns nil once the other one serves, and
// an error if it does not, which leaves everything as it was. Nothing can be changed meanwhile.
//
// After that, this router accepts no connection and no change. Clients that are connected are answered and told to
// connect again; none of their connections is reset. Serve returns when the last one has gone.
func (r *Router) Handover(give func(Estate) error) error {
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.changeable(); err != nil {
		return err
	}
	if r.Stats().Paused {
		return conflict("the router is paused", "resume it first: requests that are held would be left behind")
	}
	table, err := r.current().marshal()
	if err != nil {
		return fmt.Errorf("hand the router over: %w", err)
	}
	estate := Estate{Table: table}
	r.servingMu.Lock()
	for _, s := range r.serving {
		estate.Listeners = append(estate.Listeners, s.listener)
	}
	r.servingMu.Unlock()
	if len(estate.Listeners) == 0 {
		return conflict("the router serves nothing", "start the other one without taking over")
	}
	if err := give(estate); err != nil {
		return fmt.Errorf("hand the router over, it goes on: %w", err)
	}
	r.retiring.Store(true)
	for _, listener := range estate.Listeners {
		_ = listener.Close() // of this process only: the other one has a descriptor of its own
	}
	return nil
}
