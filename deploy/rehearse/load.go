package rehearse

import (
	"context"
	"fmt"
	"time"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/traffic"
)

// tick is how often the progress is told of the traffic.
const tick = 250 * time.Millisecond

// load is the traffic of a rehearsal, from the running release's first request to the end.
type load struct {
	*traffic.Generator
	run     *run
	phase   time.Duration
	stopped bool
	ended   chan struct{}
}

func (l *load) start(ctx context.Context) error {
	if err := l.Start(ctx); err != nil {
		return err
	}
	l.ended = make(chan struct{})
	go func() {
		every := time.NewTicker(tick)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				s := l.Snapshot()
				l.run.Progress.TrafficTick(s.Requests, s.Failed, s.P95)
			case <-l.ended:
				return
			}
		}
	}()
	return nil
}

func (l *load) stop() {
	if l.stopped {
		return
	}
	l.stopped = true
	close(l.ended)
	l.run.out.Traffic = l.Stop()
}

// watch lets one phase of traffic pass and returns what failed in it.
func (l *load) watch(ctx context.Context, phase string) error {
	before := l.Snapshot()
	timer := time.NewTimer(l.phase)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after := l.Snapshot()
	if failed := after.Failed - before.Failed; failed > 0 {
		return fmt.Errorf("%s: %d of %d requests failed under traffic (%s)", phase, failed, after.Requests-before.Requests, kinds(after.Errors, before.Errors))
	}
	if after.Requests == before.Requests {
		return fmt.Errorf("%s: no request was answered in %s", phase, l.phase)
	}
	return nil
}

// marking marks every shift of traffic in the load's timeline.
type marking struct {
	deploy.Splitter
	load *load
}

// Shift marks the moment and passes on.
func (m *marking) Shift(ctx context.Context, weights map[deploy.Slot]int) error {
	for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
		if weights[slot] == 100 {
			m.load.Mark(m.load.run.stages.name() + " to " + string(slot))
		}
	}
	return m.Splitter.Shift(ctx, weights)
}

func dropped(t *report.Traffic) string {
	return fmt.Sprintf("%d of %d requests were dropped (%s)", t.Failed, t.Requests, kinds(t.Errors, nil))
}
