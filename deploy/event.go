package deploy

import (
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
)

// EventKind is what an event tells of.
type EventKind string

// The kinds.
const (
	TransitionEvent EventKind = "transition" // a state was entered: it is in the journal
	DecisionEvent   EventKind = "decision"   // of a canary
	VerdictEvent    EventKind = "verdict"    // on a rollback
	WarningEvent    EventKind = "warning"    // Detail says what; the deployment goes on
)

// Event is what a live view shows of a deployment.
type Event struct {
	Deployment string           `json:"deployment"`
	At         time.Time        `json:"at"`
	Kind       EventKind        `json:"kind"`
	State      State            `json:"state"`
	Slot       Slot             `json:"slot,omitempty"`
	Release    string           `json:"release,omitempty"`
	Detail     string           `json:"detail,omitempty"`
	Decision   *canary.Decision `json:"decision,omitempty"`
	Verdict    *Verdict         `json:"verdict,omitempty"`
}

func (d *Deployment) tell(e Event) {
	if d.Progress == nil {
		return
	}
	e.Deployment, e.At = d.ID, d.now()
	d.Progress(e)
}
