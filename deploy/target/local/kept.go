package local

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/process"
)

// settled is how long a process that was started again must run before it counts as alive: one that ends at once, again and
// again, would otherwise look alive to who asks between two ends.
const settled = 2 * time.Second

// kept is a unit that is a process which is started again when it ends.
type kept struct {
	unit    deploy.Unit
	port    int
	log     *Log
	process *process.Kept
}

func (k *kept) component() string { return k.unit.Component }

func (k *kept) endpoint() *url.URL { return endpoint(k.port) }

func (k *kept) logs() string { return k.log.Tail() }

func (k *kept) alive() error {
	s := k.process.Status()
	if s.Resting || s.PID != 0 && (s.Ends == 0 || s.Up >= settled) {
		return nil
	}
	how := howItEnded(s.Last)
	if s.Ends > 1 {
		how += fmt.Sprintf(", the last of %d ends", s.Ends)
	}
	return errors.New(how + theEndOf(k.log))
}

func (k *kept) stop(ctx context.Context) error {
	return stopped(k.process.Stop(ctx, k.unit.Stop), k.process.Done())
}

// QuietWorkers asks the slot's units without routes to take no new jobs, as process.Kept.Quiet does, where they are kept. It
// does not wait for the jobs they have: Stop does. Asking again, or where nothing runs, does nothing.
func (t *Target) QuietWorkers(name deploy.Slot) { t.workers(name, (*process.Kept).Quiet) }

// WakeWorkers has workers that were asked started again, once they have finished what they did.
func (t *Target) WakeWorkers(name deploy.Slot) { t.workers(name, (*process.Kept).Wake) }

func (t *Target) workers(name deploy.Slot, do func(*process.Kept)) {
	t.mu.Lock()
	s := t.slots[name]
	t.mu.Unlock()
	if s == nil {
		return
	}
	for _, u := range s.running() {
		if k, ok := u.(*kept); ok && len(k.unit.Routes) == 0 {
			do(k.process)
		}
	}
}
