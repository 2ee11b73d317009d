package process

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Backoff is how long a program that ended waits for its next start.
type Backoff struct {
	First time.Duration // after the first end; doubled after each further one
	Max   time.Duration
	Reset time.Duration // a run as long as this begins again at First
}

// DefaultBackoff is Docker's (moby, daemon/internal/restartmanager): a crash is over before most clients notice, a crash
// loop costs next to nothing.
var DefaultBackoff = Backoff{First: 100 * time.Millisecond, Max: time.Minute, Reset: 10 * time.Second}

// quietGrace is how long a program that was asked by Quiet may go on with what it does, unless Stop says otherwise.
const quietGrace = 24 * time.Hour

// memoryInterval is the time between two looks at the memory of a program that has a limit.
const memoryInterval = time.Second

// Keeping says how a program is kept.
type Keeping struct {
	Backoff Backoff // zero means DefaultBackoff
	// Memory is how many bytes the program and all it started may use together (Usage.Proportional), 0 for any number.
	// What uses more is killed and started again, like a container by the kernel. It is looked at once a second: what
	// grows by gigabytes a second is not held by it.
	//
	// It is no RLIMIT_AS, since Node and Go reserve address space that they never use, and no cgroup, which takes root
	// or a delegated tree that few machines have.
	Memory int64
}

// Kept is a program that is started again whenever it ends, until Stop. It never outlives this process.
type Kept struct {
	spec    Spec
	keeping Keeping
	ending  chan struct{} // closed by Stop
	done    chan struct{}

	mu      sync.Mutex
	current *Process // nil while it is down
	since   time.Time
	ends    int
	last    error
	stopped bool
	quiet   bool          // it is not to be started again now
	asked   bool          // the present run was asked to end by Quiet, or the last one was
	woken   chan struct{} // closed by Wake
}

// KeptStatus is how a kept program is doing.
type KeptStatus struct {
	// PID is the program's, 0 while it is down.
	PID int
	// Up is how long it has been running, or down, since its last start or end.
	Up time.Duration
	// Ends is how often it has ended. After each it is started again.
	Ends int
	// Last is how it ended last, nil for exit code 0 and where it never has; or why it could not be started again.
	Last error
	// Resting is that it was asked by Quiet: it ends, or has ended, as it should.
	Resting bool
}

// Keep starts a program, with the errors of Start, and starts it again whenever it ends. It runs on when ctx ends.
func Keep(ctx context.Context, spec Spec, keeping Keeping) (*Kept, error) {
	if keeping.Backoff == (Backoff{}) {
		keeping.Backoff = DefaultBackoff
	}
	p, err := Start(context.WithoutCancel(ctx), spec)
	if err != nil {
		return nil, err
	}
	k := &Kept{spec: spec, keeping: keeping, ending: make(chan struct{}), done: make(chan struct{}), woken: make(chan struct{}), current: p, since: time.Now()}
	go k.run(p)
	return k, nil
}

func (k *Kept) run(p *Process) {
	defer close(k.done)
	delay := k.keeping.Backoff.First
	for {
		began := time.Now()
		var err error
		if p != nil {
			err = k.hold(p)
			if time.Since(began) >= k.keeping.Backoff.Reset {
				delay = k.keeping.Backoff.First
			}
			k.ended(err)
		}
		if !k.rest(delay) {
			return
		}
		delay = min(2*delay, k.keeping.Backoff.Max)
		if p = k.again(); p == nil && k.over() {
			return
		}
	}
}

// rest waits until the program is to be started again. False: it is not.
func (k *Kept) rest(delay time.Duration) bool {
	select {
	case <-k.ending:
		return false
	case <-time.After(delay):
	}
	for {
		k.mu.Lock()
		quiet, woken := k.quiet, k.woken
		k.mu.Unlock()
		if !quiet {
			return true
		}
		select {
		case <-k.ending:
			return false
		case <-woken:
		}
	}
}

// hold waits until the program has ended and returns how.
func (k *Kept) hold(p *Process) error {
	if k.keeping.Memory == 0 {
		return p.Wait()
	}
	look := time.NewTicker(memoryInterval)
	defer look.Stop()
	for {
		select {
		case <-p.Done():
			return p.Wait()
		case <-look.C:
		}
		used, err := p.Usage()
		if err == nil && used.Proportional > k.keeping.Memory {
			p.stop(order{})
			<-p.Done()
			return fmt.Errorf("it was killed: it used %d MiB of memory and may use %d MiB", used.Proportional>>20, k.keeping.Memory>>20)
		}
	}
}

func (k *Kept) ended(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current, k.since = nil, time.Now()
	if !k.asked {
		k.last = err
		k.ends++
	}
}

// again starts the program anew. It holds the lock, so that Stop cannot miss what it starts.
func (k *Kept) again() *Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped || k.quiet {
		return nil
	}
	k.asked = false
	p, err := Start(context.Background(), k.spec)
	if err != nil {
		k.last = err
		k.ends++
		return nil
	}
	k.current, k.since = p, time.Now()
	return p
}

func (k *Kept) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

// Status says how the program is doing.
func (k *Kept) Status() KeptStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := KeptStatus{Up: time.Since(k.since), Ends: k.ends, Last: k.last, Resting: k.quiet || k.asked}
	if k.current != nil {
		s.PID = k.current.PID()
	}
	return s
}

// Usage is Process.Usage of the present run.
func (k *Kept) Usage() (Usage, error) {
	k.mu.Lock()
	p := k.current
	k.mu.Unlock()
	if p == nil {
		return Usage{}, nil
	}
	return p.Usage()
}

// Quiet asks the program to end, by the stop signal, once it has finished what it does: what workers understand by it
// (Celery, Sidekiq, RQ, BullMQ). It returns at once, and the program is not started again until Wake. Stop bounds what is
// left as it always does.
func (k *Kept) Quiet() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped || k.quiet {
		return
	}
	k.quiet, k.asked = true, true
	if k.current != nil {
		k.current.stop(order{Grace: quietGrace})
	}
}

// Wake has a program that was asked by Quiet started again, once it has ended.
func (k *Kept) Wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.quiet {
		k.quiet = false
		close(k.woken)
		k.woken = make(chan struct{})
	}
}

// Done is closed when Stop was called and everything has ended.
func (k *Kept) Done() <-chan struct{} { return k.done }

// Stop ends the program as Process.Stop does, for good. Stopping twice is no error.
func (k *Kept) Stop(ctx context.Context, grace time.Duration) error {
	k.mu.Lock()
	if !k.stopped {
		k.stopped = true
		close(k.ending)
	}
	p := k.current
	k.mu.Unlock()
	if p != nil {
		if err := p.Stop(ctx, grace); err != nil {
			return err
		}
	}
	<-k.done
	return nil
}
