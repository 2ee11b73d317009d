package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// trafficEvery is how often the traffic is told on a line of its own.
const trafficEvery = 5 * time.Second

// eventLines is the Plain progress: one line an event, in the order of events.
type eventLines struct {
	mu       sync.Mutex
	w        io.Writer
	settings settings
	done     bool
	started  map[string]bool // stages
	told     time.Time       // traffic, last
	failed   int             // dropped requests told
}

func newLines(w io.Writer, s settings) *eventLines {
	return &eventLines{w: w, settings: s, started: map[string]bool{}}
}

func (p *eventLines) say(stage, text string) {
	if p.done {
		return
	}
	if stage != "" {
		text = line(stage) + ": " + text
	}
	fmt.Fprintln(p.w, text)
}

func (p *eventLines) begin(stage string) {
	if !p.started[stage] {
		p.started[stage] = true
		p.say(stage, "started")
	}
}

func (p *eventLines) StageStarted(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(name)
}

func (p *eventLines) StageFinished(stage Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(stage.Name, outcome(stage.Status, stage.Cached, stage.Seconds, stage.Detail))
}

func (p *eventLines) StepStarted(step ci.Step, _ time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(step.Kind.Stage())
	p.say(step.Kind.Stage(), line(step.Name)+" started")
}

func (p *eventLines) StepFinished(result ci.Result) {
	stage, failures := FromResult(result)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin(result.Step.Kind.Stage())
	p.say(result.Step.Kind.Stage(), line(stage.Name)+" "+outcome(stage.Status, stage.Cached, stage.Seconds, stage.Detail))
	for i, f := range failures {
		if i == 3 && len(failures) > 4 {
			p.say("", fmt.Sprintf("  … %d more", len(failures)-i))
			break
		}
		p.say("", "  "+joinNonEmpty(": ", f.Place(), line(f.Title)))
	}
}

func (p *eventLines) TrafficTick(requests, failed int, p95 float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.settings.now()
	if failed == p.failed && !p.told.IsZero() && now.Sub(p.told) < trafficEvery {
		return
	}
	p.told, p.failed = now, failed
	p.say("traffic", trafficText(requests, failed, p95))
}

func (p *eventLines) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say("note", line(text))
}

func (p *eventLines) Finish(r *Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done {
		p.finish(r)
	}
}

func (p *eventLines) finish(r *Report) {
	p.done = true
	columns, _ := p.settings.size()
	_ = WriteScreen(p.w, r, columns, false)
}

func (p *eventLines) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
}

// outcome is how something ended: "passed in 2.1 s, 42 tests", "FAILED in 3.2 s, 1 of 42 tests failed".
func outcome(status Status, cached bool, took float64, detail string) string {
	text := string(status)
	if status == Failed {
		text = strings.ToUpper(text)
	}
	switch {
	case cached:
		text += ", cached"
	case status != Skipped:
		text += " in " + seconds(took)
	}
	return joinNonEmpty(", ", text, line(detail))
}

func trafficText(requests, failed int, p95 float64) string {
	return fmt.Sprintf("%s, %s dropped, p95 %s", plural(requests, "request"), count(failed), millis(p95))
}
