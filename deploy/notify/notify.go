// Package notify tells people of a rehearsal: one message in a chat when it starts, the same message with the verdict
// when it ends, the details in its thread. Delivery never fails a run and delays its end by a bounded time only: what
// could not be delivered comes back as notes. The command line and the module call it.
package notify

import (
	"context"

	"github.com/metaextract/pipeline/ci/report"
)

// Notifier tells of one run. Both methods are called at most once, Started first; a Notifier is not used again.
type Notifier interface {
	// Started says that the run begins. It returns at once and delivers in the background.
	Started(ctx context.Context, message Message)
	// Finished says how the run ended, also when ctx is cancelled or Started could not be delivered. It returns when
	// everything is delivered or given up; the notes say what was not delivered and why, and never contain a credential.
	Finished(ctx context.Context, message Message) (notes []string)
}

// Message is what is told of a run.
type Message struct {
	Application string
	Release     string
	From        string // what runs now
	Environment string
	Who         string         // started it; "" where unknown
	Where       string         // it runs: "GitHub Actions", a host's name
	Link        string         // of the run, http or https; "" where there is none
	Report      *report.Report // nil until the run has ended
}

// All is several notifiers as one.
type All []Notifier

// Started tells all of them.
func (a All) Started(ctx context.Context, message Message) {
	for _, n := range a {
		n.Started(ctx, message)
	}
}

// Finished tells all of them at the same time.
func (a All) Finished(ctx context.Context, message Message) []string {
	answers := make([]chan []string, len(a))
	for i, n := range a {
		answers[i] = make(chan []string, 1)
		go func() { answers[i] <- n.Finished(ctx, message) }()
	}
	var notes []string
	for _, answer := range answers {
		notes = append(notes, <-answer...)
	}
	return notes
}
