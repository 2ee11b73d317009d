package router

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/metaextract/pipeline/deploy"
)

// Register makes an instance known at weight 0. Registering what is registered already changes nothing, so that a
// deployment may be resumed; another instance may take the place of one that has no weight.
func (r *Router) Register(_ context.Context, instance deploy.Instance) error {
	registration, err := NewRegistration(instance)
	if err != nil {
		return err
	}
	return r.Put(instance.Slot, registration)
}

// Put is Register for what came over the control socket.
func (r *Router) Put(name deploy.Slot, registration Registration) error {
	if err := registration.check(); err != nil {
		return err
	}
	if !isSlot(name) {
		return invalid(fmt.Sprintf("%q is not the name of a slot", name), "use blue or green")
	}
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.changeable(); err != nil {
		return err
	}
	now := r.current()
	old, exists := now.find(name)
	if exists && !old.draining && reflect.DeepEqual(old.slot.instance, registration) {
		return nil
	}
	if exists && old.weight > 0 {
		return conflict(fmt.Sprintf("slot %s serves release %s with %d %% of the traffic", name, old.slot.instance.Release, old.weight),
			"shift its traffic to another slot first")
	}
	if !exists && len(now.entries) >= maxSlots {
		return conflict(fmt.Sprintf("%d slots are registered", len(now.entries)), "remove one first")
	}
	added, err := newSlot(name, registration, r)
	if err != nil {
		return invalid(err.Error(), "correct the registration")
	}
	next := now.without(name)
	if !now.split {
		next.salt = rand.Text() // a new deployment draws its cohorts anew; a split that goes on keeps them
	}
	next.entries = append(next.entries, entry{slot: added})
	if err := r.swap(next); err != nil {
		return err
	}
	if exists {
		old.slot.retire()
	}
	return nil
}

// Bounds of a table.
const (
	maxSlotName = 64
	maxSlots    = 16
)

// Shift sets the share of new requests that each slot gets, in percent; slots not named get 0. The sum must be 100. Once
// it returns, no new request goes where it must not.
func (r *Router) Shift(_ context.Context, weights map[deploy.Slot]int) error {
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.changeable(); err != nil {
		return err
	}
	now := r.current()
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		weight := weights[name]
		if _, ok := now.find(name); !ok {
			return unknown(name)
		}
		if weight < 0 || weight > 100 {
			return invalid(fmt.Sprintf("weight %d of slot %s is not a percentage", weight, name), "give 0 to 100")
		}
		sum += weight
	}
	if sum != 100 {
		return invalid(fmt.Sprintf("the weights add up to %d", sum), "make them add up to 100")
	}
	next := now.clone()
	for i := range next.entries {
		e := &next.entries[i]
		e.weight = weights[e.slot.name]
		e.draining = e.draining && e.weight == 0
	}
	return r.swap(next)
}

// SetRules replaces the rules and experiments. They may name slots that are not registered yet.
func (r *Router) SetRules(_ context.Context, routing Routing) error {
	if err := routing.check(); err != nil {
		return err
	}
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.changeable(); err != nil {
		return err
	}
	next := r.current().clone()
	next.routing = routing
	if err := r.swap(next); err != nil {
		return err
	}
	r.forget(routing)
	return nil
}

// Rules is the rules and experiments as they are.
func (r *Router) Rules() Routing {
	routing := r.current().routing
	if routing.Rules == nil {
		routing.Rules = []Rule{}
	}
	return routing
}

// SetMirror begins to copy requests, nil ends it. What was counted stays.
func (r *Router) SetMirror(_ context.Context, mirror *Mirror) error {
	if mirror != nil {
		if err := mirror.check(); err != nil {
			return err
		}
	}
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.changeable(); err != nil {
		return err
	}
	next := r.current().clone()
	old := next.mirror
	next.mirror = nil
	if mirror != nil {
		next.mirror = mirror.start(&r.mirrored, r.options.ResponseTimeout)
	}
	if err := r.swap(next); err != nil {
		return err
	}
	if old != nil {
		old.client.CloseIdleConnections()
	}
	return nil
}

// Remove forgets a slot, which must have weight 0; rules lead past it from then on. Requests still in flight there go on
// until the application ends them. Removing what is not registered is no error.
func (r *Router) Remove(_ context.Context, name deploy.Slot) error {
	r.change.Lock()
	defer r.change.Unlock()
	now := r.current()
	e, ok := now.find(name)
	if !ok {
		return nil
	}
	if e.weight > 0 {
		return busy(e)
	}
	if err := r.changeable(); err != nil {
		return err
	}
	if err := r.swap(now.without(name)); err != nil {
		return err
	}
	e.slot.retire()
	if now.mirror != nil {
		now.mirror.client.CloseIdleConnections()
	}
	return nil
}

func busy(e entry) error {
	return conflict(fmt.Sprintf("slot %s still gets %d %% of the traffic", e.slot.name, e.weight), "shift it to another slot first")
}

// changeable refuses changes once another process has taken over: it has the table now. change is held.
func (r *Router) changeable() error {
	if r.retiring.Load() {
		return conflict("another process has taken over from this router", "connect to the control socket again")
	}
	return nil
}

// swap makes a table the one that requests see, once it is on disk. On an error nothing has changed.
func (r *Router) swap(next *table) error {
	next.compile(r.exposed)
	if r.options.State != "" {
		if err := writeState(r.options.State, next); err != nil {
			return fmt.Errorf("write router state, nothing was changed: %w", err)
		}
	}
	r.mu.Lock()
	r.table = next
	r.mu.Unlock()
	return nil
}
