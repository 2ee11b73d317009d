package local

import (
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/process"
)

// UnitStatus is how a unit is doing.
type UnitStatus struct {
	Component string
	URL       string
	// PID is 0 where the unit is down, or static files.
	PID int
	// Up is how long it has been running, or down.
	Up time.Duration
	// Ends is how often it has ended and was started again.
	Ends int
	// Problem is what Alive says of it, empty where it is alive.
	Problem string
	Usage   process.Usage
}

// Status is how the units of a slot are doing: none where it is empty.
func (t *Target) Status(name deploy.Slot) []UnitStatus {
	t.mu.Lock()
	s := t.slots[name]
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	var all []UnitStatus
	for _, u := range s.running() {
		one := UnitStatus{Component: u.component(), URL: u.endpoint().String()}
		if err := u.alive(); err != nil {
			one.Problem = err.Error()
		}
		if k, ok := u.(*kept); ok {
			now := k.process.Status()
			one.PID, one.Up, one.Ends = now.PID, now.Up, now.Ends
			one.Usage, _ = k.process.Usage() // nothing where the system does not tell
		}
		all = append(all, one)
	}
	return all
}
