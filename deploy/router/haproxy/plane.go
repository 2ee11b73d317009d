// Package haproxy makes a HAProxy (2.6 or newer) the data plane of a deployment, for those who want its speed. It is driven
// over its admin socket alone and never reloaded: a reload closes idle client connections, which loses requests that
// cannot be sent twice. The package writes HAProxy's configuration and starts no process; internal/host does.
//
// Everything that a deployment changes is in one of HAProxy's maps: weights, rules, which path leads to which component,
// and what is registered. A map is replaced as a whole and at once, so that a program that dies between two commands
// leaves either what was or what was to be; servers whose addresses it had begun to set have no traffic. The state is read
// from HAProxy before each change and never remembered, and written to the directory, so that a restart serves it.
//
// A client's cohort is a hash of its id with the deployment's salt, as in the project's own router, and the id is HAProxy's
// cookie (a random UUID, drawn by no cryptographic generator) or the client's key. What HAProxy cannot do is not among the plane's abilities; besides, it cuts an answer within
// which the application is silent for longer than the response timeout, and an event stream is such an answer.
package haproxy

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/plane"
)

// Plane drives a HAProxy that runs in Options.Dir. It implements plane.Plane. One process at a time may change a HAProxy:
// that is the deployment's lock to see to.
type Plane struct {
	options Options
	admin   admin
	records *collector

	change sync.Mutex
}

var _ plane.Plane = (*Plane)(nil)

// New drives the HAProxy in options.Dir and collects its records until Close. Prepare comes first; whether HAProxy is
// started before or after New is all the same.
func New(options Options) (*Plane, error) {
	options = options.orDefaults()
	if err := options.check(); err != nil {
		return nil, err
	}
	records, err := collect(filepath.Join(options.Dir, recordsSocket), options.Kept, options.Exclude)
	if err != nil {
		return nil, err
	}
	return &Plane{options: options, admin: admin{filepath.Join(options.Dir, AdminSocket)}, records: records}, nil
}

// Close ends the collection. HAProxy goes on and keeps its latest records for the next collector.
func (p *Plane) Close() error { return p.records.close() }

// Abilities implements plane.Plane. Without plane.Apology: see the configuration's frontend of that name.
func (*Plane) Abilities() []plane.Ability { return nil }

// Register makes an instance known at weight 0. Registering what is registered already changes nothing; another instance
// may take the place of one that has no weight.
func (p *Plane) Register(ctx context.Context, instance deploy.Instance) error {
	registration, err := router.NewRegistration(instance)
	if err != nil {
		return err
	}
	if !slices.Contains(slots, instance.Slot) {
		return invalid(fmt.Sprintf("HAProxy has no slot %q", instance.Slot), "use blue or green")
	}
	if len(registration.Release) > maxValue || strings.ContainsFunc(registration.Release, unicode.IsControl) {
		return invalid("the release's version is long or has control characters", fmt.Sprintf("name it with at most %d characters in one line", maxValue))
	}
	resolved, err := addresses(registration, p.options.Components)
	if err != nil {
		return err
	}
	p.change.Lock()
	defer p.change.Unlock()
	now, err := p.current(ctx)
	if err != nil {
		return err
	}
	old := now.find(instance.Slot)
	if old != nil && !old.Draining && reflect.DeepEqual(old.Registration, registration) {
		return p.ready(ctx, old) // a caller that died may have left it half
	}
	if old != nil {
		if old.Weight > 0 {
			return busy(old)
		}
		now = now.without(instance.Slot) // nothing may lead to a slot whose addresses change one after another
		if err := p.apply(ctx, now); err != nil {
			return err
		}
	}
	added := slot{Slot: instance.Slot, Stream: rand.Text(), Registration: registration, addresses: resolved}
	if err := p.ready(ctx, &added); err != nil {
		return err
	}
	next := now.clone()
	if !now.split() {
		next.Salt = rand.Text() // a new deployment draws its cohorts anew; a split that goes on keeps them
	}
	next.Slots = append(next.Slots, added)
	slices.SortFunc(next.Slots, func(a, b slot) int { return slices.Index(slots, a.Slot) - slices.Index(slots, b.Slot) })
	return p.apply(ctx, next)
}

// Shift sets the share of new requests that each slot gets, in percent; slots not named get 0. The sum must be 100. Once it
// returns, no new request goes where it must not.
func (p *Plane) Shift(ctx context.Context, weights map[deploy.Slot]int) error {
	p.change.Lock()
	defer p.change.Unlock()
	now, err := p.current(ctx)
	if err != nil {
		return err
	}
	next, sum := now.clone(), 0
	for i := range next.Slots {
		next.Slots[i].Weight = 0
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		s, weight := next.find(name), weights[name]
		if s == nil {
			return unknown(name)
		}
		if weight < 0 || weight > 100 {
			return invalid(fmt.Sprintf("weight %d of slot %s is not a percentage", weight, name), "give 0 to 100")
		}
		s.Weight = weight
		s.Draining = s.Draining && weight == 0
		sum += weight
	}
	if sum != 100 {
		return invalid(fmt.Sprintf("the weights add up to %d", sum), "make them add up to 100")
	}
	for i := range next.Slots {
		if next.Slots[i].Weight > 0 {
			if err := p.ready(ctx, &next.Slots[i]); err != nil {
				return err
			}
		}
	}
	return p.apply(ctx, next)
}

// SetRules implements plane.Plane.
func (p *Plane) SetRules(ctx context.Context, routing router.Routing) error {
	if err := plane.Refuse("HAProxy", plane.Needs(routing, p.options.Headers, p.options.Cookies), p.Abilities()); err != nil {
		return err
	}
	if err := routing.Check(); err != nil {
		return err
	}
	if err := p.options.checkRules(routing); err != nil {
		return err
	}
	p.change.Lock()
	defer p.change.Unlock()
	now, err := p.current(ctx)
	if err != nil {
		return err
	}
	next := now.clone()
	next.Routing = routing
	return p.apply(ctx, next)
}

// Rules implements plane.Plane.
func (p *Plane) Rules(ctx context.Context) (router.Routing, error) {
	now, err := p.current(ctx)
	if err != nil {
		return router.Routing{}, err
	}
	if now.Routing.Rules == nil {
		now.Routing.Rules = []router.Rule{}
	}
	return now.Routing, nil
}

// drainPoll is how often HAProxy is asked what is in flight.
const drainPoll = 20 * time.Millisecond

// Drain waits until no request is in flight on the slot. When ctx ends first, it returns how many were left and ctx's
// error. Rules no longer lead to a slot that is drained until it has weight again. WebSockets and streams of events are
// requests in flight: HAProxy tells nobody that it waits.
func (p *Plane) Drain(ctx context.Context, name deploy.Slot) (left int, err error) {
	// The end of ctx is for the wait; the questions have bounds of their own.
	asking := context.WithoutCancel(ctx)
	drained, err := p.suspend(asking, name)
	if err != nil || drained == nil {
		return 0, err
	}
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for {
		stats, err := p.admin.stats(asking)
		if err != nil {
			return left, fmt.Errorf("drain slot %s: %w", name, err)
		}
		if left = inFlight(stats, name, p.options.Components); left == 0 {
			return 0, p.rest(asking, name)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return left, fmt.Errorf("drain slot %s: %d requests in flight: %w", name, left, context.Cause(ctx))
		}
	}
}

// suspend takes a slot out of the rules. It returns nil where the slot is not registered.
func (p *Plane) suspend(ctx context.Context, name deploy.Slot) (*slot, error) {
	p.change.Lock()
	defer p.change.Unlock()
	now, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	s := now.find(name)
	switch {
	case s == nil:
		return nil, nil
	case s.Weight > 0:
		return nil, busy(s)
	case s.Draining:
		return s, p.admin.barrier(ctx)
	}
	next := now.clone()
	s = next.find(name)
	s.Draining = true
	return s, p.apply(ctx, next)
}

// rest closes the idle connections of a slot that is drained, so that the application need not wait for them when it is
// stopped. A slot that got weight meanwhile keeps them.
func (p *Plane) rest(ctx context.Context, name deploy.Slot) error {
	p.change.Lock()
	defer p.change.Unlock()
	now, err := p.current(ctx)
	if err != nil {
		return err
	}
	if s := now.find(name); s != nil && s.Weight > 0 {
		return nil
	}
	return p.disable(ctx, name)
}

// Remove forgets a slot, which must have weight 0. Requests still in flight there go on. Removing what is not registered is
// no error.
func (p *Plane) Remove(ctx context.Context, name deploy.Slot) error {
	p.change.Lock()
	defer p.change.Unlock()
	now, err := p.current(ctx)
	if err != nil {
		return err
	}
	s := now.find(name)
	if s == nil {
		return nil
	}
	if s.Weight > 0 {
		return busy(s)
	}
	if err := p.apply(ctx, now.without(name)); err != nil {
		return err
	}
	return p.disable(ctx, name)
}

// Pause implements plane.Plane: HAProxy cannot.
func (p *Plane) Pause(context.Context, time.Duration) error {
	return plane.Refuse("HAProxy", []plane.Ability{plane.Pausing}, p.Abilities())
}

// Resume implements plane.Plane: nothing is ever held.
func (*Plane) Resume(context.Context) (stillHeld bool, err error) { return false, nil }

// Records implements plane.Plane.
func (p *Plane) Records(ctx context.Context, name deploy.Slot, from router.Cursor, limit int) (router.Batch, error) {
	now, err := p.current(context.WithoutCancel(ctx))
	if err != nil {
		return router.Batch{}, err
	}
	s := now.find(name)
	if s == nil {
		return router.Batch{}, unknown(name)
	}
	return p.records.of(s.Stream).read(ctx, from, limit), nil
}

// Status implements plane.Plane. What is counted began with this collector.
func (p *Plane) Status(ctx context.Context) (router.Status, error) {
	now, err := p.current(ctx)
	if err != nil {
		return router.Status{}, err
	}
	stats, err := p.admin.stats(ctx)
	if err != nil {
		return router.Status{}, err
	}
	status := router.Status{Slots: []router.SlotStatus{}}
	for _, s := range now.Slots {
		one := p.records.of(s.Stream).status()
		one.Slot, one.Release, one.Weight, one.Draining = s.Slot, s.Release, s.Weight, s.Draining
		one.InFlight = inFlight(stats, s.Slot, p.options.Components)
		status.Slots = append(status.Slots, one)
	}
	for _, rule := range now.Routing.Rules {
		s := now.find(rule.Slot)
		status.Rules = append(status.Rules, router.RuleStatus{Name: rule.Name, Active: s != nil && !s.Draining})
	}
	return status, nil
}

func (p *Plane) current(ctx context.Context) (*table, error) {
	entries, err := p.admin.table(ctx)
	if err != nil {
		return nil, err
	}
	return remember(entries, p.options.Components)
}

// apply makes a table the one that requests see. It is on disk first: a HAProxy that is started again in between has what
// was to be.
func (p *Plane) apply(ctx context.Context, next *table) error {
	entries, err := next.entries(p.options)
	if err != nil {
		return err
	}
	if err := write(p.options, next, entries); err != nil {
		return fmt.Errorf("write HAProxy's state, nothing was changed: %w", err)
	}
	if err := p.admin.replace(ctx, entries); err != nil {
		return err
	}
	return p.admin.barrier(ctx)
}

func busy(s *slot) error {
	return conflict(fmt.Sprintf("slot %s serves release %s with %d %% of the traffic", s.Slot, s.Release, s.Weight), "shift it to another slot first")
}

func unknown(name deploy.Slot) error {
	return &router.Error{Reason: router.Unknown, What: fmt.Sprintf("slot %s is not registered", name), Do: "register an instance in it first"}
}
