package rehearse

import (
	"context"

	"github.com/metaextract/pipeline/deploy/notify"
)

// announce tells that the rehearsal begins.
func (r *run) announce(ctx context.Context) {
	if r.Notifier != nil {
		r.Notifier.Started(ctx, r.message())
	}
}

// conclude tells how it ended. What could not be delivered is a note in the report and never a failure.
func (r *run) conclude(ctx context.Context) {
	if r.Notifier == nil {
		return
	}
	message := r.message()
	message.Report = r.out
	for _, note := range r.Notifier.Finished(ctx, message) {
		r.out.Notes = append(r.out.Notes, note)
		r.Progress.Note(note)
	}
}

func (r *run) message() notify.Message {
	m := r.Told
	m.Application, m.Release, m.From, m.Environment = r.out.Application, r.out.Release, r.Running.Version, r.out.Environment
	return m
}
