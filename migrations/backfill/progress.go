package backfill

import (
	"time"
)

// State is how far a backfill came.
type State string

// The states.
const (
	Running     State = "running"     // a session is at work on it
	Paused      State = "paused"      // somebody paused it; Run refuses to go on until Resume
	Interrupted State = "interrupted" // its session is gone; the next Run goes on
	Failed      State = "failed"      // ended with an error; the next Run goes on
	Done        State = "done"
)

// Progress is how far a backfill is.
type Progress struct {
	Version   int64         `json:"version"`
	Name      string        `json:"name"`
	State     State         `json:"state"`
	Pass      int           `json:"pass"` // from 1: how often it has begun to go through the table
	Once      bool          `json:"once"` // the statement would change its rows again, so it goes through the table only once
	Done      int64         `json:"done"` // rows changed, as the server counts them for the statement
	Batches   int64         `json:"batches"`
	Position  string        `json:"position"` // the key up to which this pass is done; "" at its beginning
	Total     int64         `json:"total"`    // rows of the table, as the planner estimated them at the beginning
	Fraction  float64       `json:"fraction"` // of this pass, 0 to 1; 1 only when all is done
	Batch     int           `json:"batch"`    // rows in a batch, now
	StartedAt time.Time     `json:"started_at"`
	UpdatedAt time.Time     `json:"updated_at"`
	Throttled string        `json:"throttled,omitempty"` // why it goes slowly now
	Rate      float64       `json:"rate"`                // rows looked at in a second, pauses included
	Left      time.Duration `json:"left"`                // of this pass, as estimated from Total and Rate; 0 where not known
	Error     string        `json:"error,omitempty"`     // what a failed one ended with

	seen int64 // rows looked at in this pass
}

// nearlyAll is the fraction that an estimate does not exceed.
const nearlyAll = 0.99

// estimate fills in what follows from the other fields.
func (p *Progress) estimate() {
	p.Fraction, p.Left = 0, 0
	switch {
	case p.State == Done:
		p.Fraction = 1
	case p.Total > 0:
		p.Fraction = min(float64(p.seen)/float64(p.Total), nearlyAll)
		if left := p.Total - p.seen; left > 0 && p.Rate > 0 {
			p.Left = time.Duration(float64(left) / p.Rate * float64(time.Second)).Round(time.Millisecond)
		}
	}
}
