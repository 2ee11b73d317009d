package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
)

// Fleet is several hosts as one: each has a target and a splitter of its own, and what balances load between the hosts is
// none of a deployment's. It implements Target, Inspector, Quieter, Splitter, Roller and Verifier over them.
//
// A release starts on all hosts or on none. Traffic moves on all or goes back on all. A host that is lost on the way is
// carried on without while Quorum are left; with fewer, Alive fails, and with it the deployment. What is asked of a host
// that doesn't answer is not done there: once it is back it must be deployed to again before it gets requests, so Missing
// names it.
type Fleet struct {
	Hosts []Host
	// Quorum is how many hosts must work; 0 is all.
	Quorum int
	// Batch is how many hosts get their traffic moved at once by Roll; 0 is one.
	Batch int
	// Parallel is how many hosts something is done on at once; 0 is all.
	Parallel int
	// Verifier verifies one host's instance.
	Verifier Verifier
	// Missing is told of a host that is carried on without; nil: nobody is.
	Missing func(host string, err error)
}

// Host is a machine of a Fleet.
type Host struct {
	Name     string
	Target   Target
	Splitter Splitter
	Recorder Recorder // of a canary
}

// Roller is a Splitter that moves traffic host by host.
type Roller interface {
	Splitter
	// Roll gives a slot all new requests on one batch of hosts after another. After each it calls check, and stops where that
	// or a host fails: some hosts have moved then, and Shift moves all of them back.
	Roll(ctx context.Context, to Slot, check func(context.Context) error) error
}

var (
	_ Inspector = (*Fleet)(nil)
	_ Quieter   = (*Fleet)(nil)
	_ Roller    = (*Fleet)(nil)
	_ Verifier  = (*Fleet)(nil)
)

// HostError is what went wrong on a host.
type HostError struct {
	Host string
	Err  error
}

func (e *HostError) Error() string { return e.Host + ": " + e.Err.Error() }

// Unwrap is what went wrong.
func (e *HostError) Unwrap() error { return e.Err }

// Start starts the release on all hosts. When one fails it is stopped on all.
func (f *Fleet) Start(ctx context.Context, slot Slot, release Release) (Instance, error) {
	instance := Instance{Slot: slot, Release: release, Hosts: map[string]Instance{}}
	var mu sync.Mutex
	errs := f.each(f.Hosts, func(h Host) error {
		started, err := h.Target.Start(ctx, slot, release)
		mu.Lock()
		defer mu.Unlock()
		instance.Hosts[h.Name] = started
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return Instance{}, errors.Join(err, f.Stop(context.WithoutCancel(ctx), slot))
	}
	instance.Endpoints = f.endpoints(instance)
	return instance, nil
}

// endpoints are those of the first host.
func (f *Fleet) endpoints(instance Instance) map[string]*url.URL {
	for _, h := range f.Hosts {
		if of, ok := instance.Hosts[h.Name]; ok {
			return of.Endpoints
		}
	}
	return nil
}

// Running finds a release that runs on all hosts; of those that don't answer, as many may be missing as Quorum leaves.
func (f *Fleet) Running(ctx context.Context, slot Slot) (Instance, bool, error) {
	all := Instance{Slot: slot, Hosts: map[string]Instance{}}
	var mu sync.Mutex
	absent := 0
	errs := f.each(f.Hosts, func(h Host) error {
		target, ok := h.Target.(Inspector)
		if !ok {
			return errors.New("its target doesn't tell what it runs")
		}
		found, ok, err := target.Running(ctx, slot)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			return err
		case !ok:
			absent++
		default:
			all.Release, all.Hosts[h.Name] = found.Release, found
		}
		return nil
	})
	if err := f.tolerate(errs); err != nil {
		return Instance{}, false, err
	}
	for _, found := range all.Hosts {
		if found.Release.Version != all.Release.Version {
			absent++
		}
	}
	if absent > 0 || len(all.Hosts) == 0 {
		return Instance{}, false, nil
	}
	all.Endpoints = f.endpoints(all)
	return all, true, nil
}

// Alive fails when fewer hosts than the quorum run the slot.
func (f *Fleet) Alive(ctx context.Context, slot Slot) error {
	errs := f.each(f.Hosts, func(h Host) error { return h.Target.Alive(ctx, slot) })
	if alive := len(f.Hosts) - count(errs); alive < f.quorum() {
		return fmt.Errorf("%d of %d hosts run %s, %d must: %w", alive, len(f.Hosts), slot, f.quorum(), errors.Join(errs...))
	}
	return nil
}

// Logs are those of all hosts, by "host component".
func (f *Fleet) Logs(ctx context.Context, slot Slot) (map[string]string, error) {
	all := map[string]string{}
	var mu sync.Mutex
	errs := f.each(f.Hosts, func(h Host) error {
		logs, err := h.Target.Logs(ctx, slot)
		mu.Lock()
		defer mu.Unlock()
		for component, text := range logs {
			all[strings.TrimSpace(h.Name+" "+component)] = text
		}
		return err
	})
	return all, errors.Join(errs...)
}

// Stop empties the slot on all hosts.
func (f *Fleet) Stop(ctx context.Context, slot Slot) error {
	return f.tolerate(f.each(f.Hosts, func(h Host) error { return h.Target.Stop(ctx, slot) }))
}

// Close closes all targets.
func (f *Fleet) Close(ctx context.Context) error {
	return errors.Join(f.each(f.Hosts, func(h Host) error { return h.Target.Close(ctx) })...)
}

// Quiet implements Quieter on the hosts that can.
func (f *Fleet) Quiet(ctx context.Context, slot Slot) error {
	return f.workers(func(q Quieter) error { return q.Quiet(ctx, slot) })
}

// Wake implements Quieter on the hosts that can.
func (f *Fleet) Wake(ctx context.Context, slot Slot) error {
	return f.workers(func(q Quieter) error { return q.Wake(ctx, slot) })
}

func (f *Fleet) workers(do func(Quieter) error) error {
	return f.tolerate(f.each(f.Hosts, func(h Host) error {
		if q, ok := h.Target.(Quieter); ok {
			return do(q)
		}
		return nil
	}))
}

// Register makes the instance known on every host that it runs on.
func (f *Fleet) Register(ctx context.Context, instance Instance) error {
	return errors.Join(f.each(f.Hosts, func(h Host) error {
		if of, ok := instance.Hosts[h.Name]; ok {
			of.Slot, of.Release = instance.Slot, instance.Release
			return h.Splitter.Register(ctx, of)
		}
		return nil
	})...)
}

// Shift sets the shares on all hosts, also when one fails.
func (f *Fleet) Shift(ctx context.Context, weights map[Slot]int) error {
	return f.tolerate(f.each(f.Hosts, func(h Host) error { return h.Splitter.Shift(ctx, weights) }))
}

// Roll implements Roller.
func (f *Fleet) Roll(ctx context.Context, to Slot, check func(context.Context) error) error {
	size := max(f.Batch, 1)
	for from := 0; from < len(f.Hosts); from += size {
		batch := f.Hosts[from:min(from+size, len(f.Hosts))]
		errs := f.each(batch, func(h Host) error { return h.Splitter.Shift(ctx, map[Slot]int{to: 100}) })
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if err := check(ctx); err != nil {
			return fmt.Errorf("after %d of %d hosts: %w", from+len(batch), len(f.Hosts), err)
		}
	}
	return nil
}

// Drain waits for the requests on all hosts at once.
func (f *Fleet) Drain(ctx context.Context, slot Slot) (left int, err error) {
	var mu sync.Mutex
	errs := f.each(f.Hosts, func(h Host) error {
		n, err := h.Splitter.Drain(ctx, slot)
		mu.Lock()
		defer mu.Unlock()
		left += n
		return err
	})
	return left, f.tolerate(errs)
}

// Remove forgets the slot on all hosts.
func (f *Fleet) Remove(ctx context.Context, slot Slot) error {
	return f.tolerate(f.each(f.Hosts, func(h Host) error { return h.Splitter.Remove(ctx, slot) }))
}

// Ready waits for every host's instance.
func (f *Fleet) Ready(ctx context.Context, instance Instance, alive func() error) error {
	return f.verify(instance, func(of Instance) error { return f.Verifier.Ready(ctx, of, alive) })
}

// Smoke sends the smoke test to every host's instance.
func (f *Fleet) Smoke(ctx context.Context, instance Instance) error {
	return f.verify(instance, func(of Instance) error { return f.Verifier.Smoke(ctx, of) })
}

func (f *Fleet) verify(instance Instance, do func(Instance) error) error {
	return errors.Join(f.each(f.Hosts, func(h Host) error {
		of, ok := instance.Hosts[h.Name]
		if !ok {
			return errors.New("it runs nothing there")
		}
		of.Slot, of.Release = instance.Slot, instance.Release
		return do(of)
	})...)
}

func (f *Fleet) quorum() int {
	if f.Quorum <= 0 {
		return len(f.Hosts)
	}
	return min(f.Quorum, len(f.Hosts))
}

// tolerate is nil while so many hosts have not failed that they are a quorum.
func (f *Fleet) tolerate(errs []error) error {
	failed := count(errs)
	if failed == 0 {
		return nil
	}
	if len(f.Hosts)-failed < f.quorum() {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		var of *HostError
		if errors.As(err, &of) && f.Missing != nil {
			f.Missing(of.Host, of.Err)
		}
	}
	return nil
}

func count(errs []error) (n int) {
	for _, err := range errs {
		if err != nil {
			n++
		}
	}
	return n
}

// each does something on hosts, at most Parallel at once. What goes wrong is a *HostError at the host's place.
func (f *Fleet) each(hosts []Host, do func(Host) error) []error {
	errs := make([]error, len(hosts))
	one := func(i int) {
		if err := do(hosts[i]); err != nil {
			errs[i] = &HostError{hosts[i].Name, err}
		}
	}
	if f.Parallel == 1 {
		for i := range hosts {
			one(i)
		}
		return errs
	}
	var all sync.WaitGroup
	free := make(chan struct{}, max(f.Parallel, 0))
	if f.Parallel <= 0 {
		free = make(chan struct{}, len(hosts))
	}
	for i := range hosts {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			one(i)
		})
	}
	all.Wait()
	return errs
}
