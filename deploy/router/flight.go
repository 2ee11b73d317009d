package router

import (
	"context"
	"sync"
)

// flight counts requests in flight and lets drains wait for none.
type flight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n reaches 0; nil while nobody waits
}

func (f *flight) add() {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
}

func (f *flight) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

func (f *flight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// wait returns when nothing is in flight or ctx ends, and how many are left.
func (f *flight) wait(ctx context.Context) int {
	for {
		f.mu.Lock()
		if f.n == 0 {
			f.mu.Unlock()
			return 0
		}
		if f.idle == nil {
			f.idle = make(chan struct{})
		}
		idle := f.idle
		f.mu.Unlock()
		select {
		case <-idle:
			return 0
		case <-ctx.Done():
			return f.count()
		}
	}
}
