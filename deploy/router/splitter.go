package router

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

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
	if name == "" || strings.ContainsAny(string(name), "/?# \r\n") || len(name) > maxSlotName {
		return invalid(fmt.Sprintf("%q is not the name of a slot", name), "use blue or green")
	}
	r.change.Lock()
	defer r.change.Unlock()
	now := r.current()
	old, exists := now.find(name)
	if exists && reflect.DeepEqual(old.slot.instance, registration) {
		return nil
	}
	if exists && old.weight > 0 {
		return conflict(fmt.Sprintf("slot %s serves release %s with %d %% of the traffic", name, old.slot.instance.Release, old.weight),
			"shift its traffic to another slot first")
	}
	added, err := newSlot(name, registration, r)
	if err != nil {
		return invalid(err.Error(), "correct the registration")
	}
	salt := now.salt
	if _, split := now.weighted(); !split {
		salt = rand.Text() // a new deployment draws its cohorts anew; a split that goes on keeps them
	}
	if err := r.swap(newTable(salt, append(now.without(name), entry{slot: added})...)); err != nil {
		return err
	}
	if exists {
		old.slot.upstream.close()
	}
	return nil
}

// maxSlotName bounds a slot's name: it is a header of every answer.
const maxSlotName = 32

// Shift sets every slot's share of new requests; slots not named get 0. The weights must add up to 100. Once it has
// returned, no new request goes to a slot with weight 0.
func (r *Router) Shift(_ context.Context, weights map[deploy.Slot]int) error {
	r.change.Lock()
	defer r.change.Unlock()
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
	entries := slices.Clone(now.entries)
	for i := range entries {
		entries[i].weight = weights[entries[i].slot.name]
	}
	return r.swap(newTable(now.salt, entries...))
}

// Drain waits until no request is in flight on the slot. When ctx ends first, it returns how many were left and ctx's
// error. A slot that is not registered has nothing in flight. A slot that has weight cannot be drained: it would fill
// again.
func (r *Router) Drain(ctx context.Context, name deploy.Slot) (left int, err error) {
	e, ok := r.current().find(name)
	if !ok {
		return 0, nil
	}
	if e.weight > 0 {
		return e.slot.flight.count(), conflict(fmt.Sprintf("slot %s still gets %d %% of the traffic", name, e.weight), "shift it to another slot first")
	}
	if left = e.slot.flight.wait(ctx); left > 0 {
		return left, fmt.Errorf("drain slot %s: %d requests in flight: %w", name, left, context.Cause(ctx))
	}
	return 0, nil
}

// Remove forgets a slot, which must have weight 0. Requests still in flight there go on until the application ends them.
// Removing what is not registered is no error.
func (r *Router) Remove(_ context.Context, name deploy.Slot) error {
	r.change.Lock()
	defer r.change.Unlock()
	now := r.current()
	e, ok := now.find(name)
	if !ok {
		return nil
	}
	if e.weight > 0 {
		return conflict(fmt.Sprintf("slot %s still gets %d %% of the traffic", name, e.weight), "shift it to another slot first")
	}
	if err := r.swap(newTable(now.salt, now.without(name)...)); err != nil {
		return err
	}
	e.slot.upstream.close()
	return nil
}

// swap makes a table the one that requests see, once it is on disk. On an error nothing has changed.
func (r *Router) swap(next *table) error {
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
