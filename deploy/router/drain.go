package router

import (
	"context"
	"fmt"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// Drained is how a drain ended.
type Drained struct {
	Left       int `json:"left"`       // requests still in flight
	WebSockets int `json:"websockets"` // closed with 1012, service restart
	Events     int `json:"events"`     // streams of server-sent events that were ended
}

// Drain is DrainSlot for a deployment: it returns how many requests were left.
func (r *Router) Drain(ctx context.Context, name deploy.Slot) (left int, err error) {
	drained, err := r.DrainSlot(ctx, name)
	return drained.Left, err
}

// DrainSlot waits until no request is in flight on the slot. When ctx ends first, it returns how many were left and ctx's
// error. A slot that is not registered has nothing in flight. A slot that has weight cannot be drained: it would fill
// again. Rules and experiments no longer lead to a slot that is drained, until it has weight again or another instance is
// registered in it.
//
// WebSockets and streams of events never end by waiting. They stay on the slot until shortly before ctx's deadline and are
// then ended one after another, within Options.Jitter or a quarter of the time there was. Without a deadline they stay.
func (r *Router) DrainSlot(ctx context.Context, name deploy.Slot) (Drained, error) {
	e, ok, err := r.suspend(name)
	if err != nil {
		return Drained{Left: e.count()}, err
	}
	if !ok {
		return Drained{}, nil
	}
	drained := r.empty(ctx, e.slot)
	if drained.Left > 0 {
		return drained, fmt.Errorf("drain slot %s: %d requests in flight: %w", name, drained.Left, context.Cause(ctx))
	}
	e.slot.closeIdle() // the application need not wait for its idle connections when it is stopped
	return drained, nil
}

// suspend takes a slot out of rules and experiments.
func (r *Router) suspend(name deploy.Slot) (e entry, ok bool, err error) {
	r.change.Lock()
	defer r.change.Unlock()
	now := r.current()
	e, ok = now.find(name)
	if !ok {
		return e, false, nil
	}
	if e.weight > 0 {
		return e, true, busy(e)
	}
	if e.draining || !now.routing.leadsTo(name) {
		return e, true, nil
	}
	if err := r.changeable(); err != nil {
		return e, true, err
	}
	next := now.clone()
	next.edit(name, func(e *entry) { e.draining = true })
	return e, true, r.swap(next)
}

// empty waits until nothing is in flight on a slot and cuts its conversations before ctx's deadline.
func (r *Router) empty(ctx context.Context, s *slot) (drained Drained) {
	patient, spread := ctx, time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		quarter := time.Until(deadline) / 4
		spread = min(r.options.Jitter, quarter)
		var cancel context.CancelFunc
		// A conversation also takes time to end once it is told to.
		patient, cancel = context.WithDeadline(ctx, deadline.Add(-spread-min(2*closeGrace, quarter)))
		defer cancel()
	}
	if s.flight.wait(patient) == 0 {
		return drained
	}
	if spread > 0 && ctx.Err() == nil {
		ended := s.streams.cut(ctx, spread)
		drained.WebSockets, drained.Events = ended[upgraded], ended[events]
	}
	drained.Left = s.flight.wait(ctx)
	return drained
}
