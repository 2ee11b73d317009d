package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// The control sequences of the live view.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	cursorUp   = "\x1b[%dA\r"
	clearBelow = "\x1b[J"
	clearRight = "\x1b[K"
)

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// live is the TTY progress: a tree that is drawn over itself.
type live struct {
	mu       sync.Mutex
	w        io.Writer
	settings settings
	paint    paint
	board    board
	drawn    int // lines on the screen
	frame    int
	done     bool
	stop     chan struct{}
	stopped  chan struct{}
}

func newLive(w io.Writer, s settings) *live {
	p := &live{
		w: w, settings: s, paint: paint(s.getenv("NO_COLOR") == ""),
		board: board{began: s.now()}, stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	io.WriteString(w, hideCursor)
	go p.spin()
	return p
}

// spin redraws until the end.
func (p *live) spin() {
	defer close(p.stopped)
	ticks, stop := p.settings.tick()
	defer stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticks:
			p.turn()
		}
	}
}

// turn moves the spinners and the times.
func (p *live) turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frame++
	p.draw()
}

// update changes the board and shows it.
func (p *live) update(change func(b *board, now time.Time)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	change(&p.board, p.settings.now())
	p.draw()
}

func (p *live) StageStarted(name string) {
	p.update(func(b *board, now time.Time) { b.stageStarted(name, now) })
}

func (p *live) StageFinished(stage Stage) {
	p.update(func(b *board, now time.Time) { b.stageFinished(stage, now) })
}

func (p *live) StepStarted(step ci.Step, at time.Time) {
	p.update(func(b *board, _ time.Time) { b.stepStarted(step, at) })
}

func (p *live) StepFinished(result ci.Result) {
	p.update(func(b *board, now time.Time) { b.stepFinished(result, now) })
}

func (p *live) TrafficTick(requests, failed int, p95 float64) {
	p.mu.Lock() // drawn at the next tick: there may be thousands a second
	defer p.mu.Unlock()
	p.board.traffic = &trafficTick{requests, failed, p95}
}

func (p *live) Note(text string) {
	p.update(func(b *board, _ time.Time) { b.last = line(text) })
}

func (p *live) Finish(r *Report) {
	if !p.end() {
		return
	}
	columns, _ := p.settings.size()
	_ = WriteScreen(p.w, r, columns, bool(p.paint))
}

func (p *live) Close() { p.end() }

// end takes the tree away and gives the cursor back, once.
func (p *live) end() bool {
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		return false
	}
	p.done = true
	p.erase()
	io.WriteString(p.w, showCursor)
	p.mu.Unlock()
	close(p.stop)
	<-p.stopped
	return true
}

func (p *live) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, cursorUp+clearBelow, p.drawn)
		p.drawn = 0
	}
}

// draw writes the tree over the one before it, in one write, so that nothing flickers.
func (p *live) draw() {
	if p.done {
		return
	}
	columns, rows := p.settings.size()
	text := p.tree(p.settings.now())
	if room := max(rows-1, 3); len(text) > room { // scrolled lines cannot be drawn over
		text = append(text[:room-1], p.paint.dim(fmt.Sprintf("… %d more lines", len(text)-room+1)))
	}
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, cursorUp, p.drawn)
	}
	for _, l := range text {
		b.WriteString(fit(l, max(columns-1, 10)))
		b.WriteString(clearRight + "\n")
	}
	b.WriteString(clearBelow)
	p.drawn = len(text)
	io.WriteString(p.w, b.String())
}

// tree is the state of the run: stages, their running and failed steps, the traffic.
func (p *live) tree(now time.Time) []string {
	text := []string{p.paint.dim(seconds(now.Sub(p.board.began).Seconds()))}
	for _, known := range p.board.stages {
		stage := known.shown()
		text = append(text, p.entry("", stage, now))
		for _, step := range known.steps {
			text = append(text, p.step(step, stage.Status, now)...)
		}
	}
	if t := p.board.traffic; t != nil {
		told := trafficText(t.requests, t.failed, t.p95)
		if t.failed > 0 {
			told = p.paint.red(told)
		}
		text = append(text, p.paint.cyan("⇄")+" traffic  "+told)
	}
	if p.board.last != "" {
		text = append(text, p.paint.dim("  note: "+p.board.last))
	}
	return text
}

// step shows a step that runs or failed; of a failed one, where. Passed steps are shown while their stage runs.
func (p *live) step(step *boardStep, stage Status, now time.Time) []string {
	if step.Status != Failed && stage != Running {
		return nil
	}
	text := []string{p.entry("  ", step.Stage, now)}
	if step.Status == Failed && len(step.failures) > 0 {
		f := step.failures[0]
		more := ""
		if n := len(step.failures) - 1; n > 0 {
			more = p.paint.dim(fmt.Sprintf(" (+%d)", n))
		}
		text = append(text, "      "+joinNonEmpty(" ", p.paint.cyan(f.Place()), line(f.Title))+more)
	}
	return text
}

// entry is a stage or a step on one line.
func (p *live) entry(indent string, s Stage, now time.Time) string {
	const names = 24
	mark, took := p.paint.mark(s.Status), seconds(s.Seconds)
	switch {
	case s.Status == Running:
		mark = p.paint.cyan(spinner[p.frame%len(spinner)])
		took = seconds(max(now.Sub(s.Started), 0).Truncate(100 * time.Millisecond).Seconds())
	case s.Cached:
		took = "cached"
	case s.Status == Skipped:
		took = "skipped"
	}
	name := pad(line(s.Name), names-len(indent))
	if indent == "" {
		name = p.paint.bold(name)
	}
	return indent + mark + " " + name + " " + p.paint.dim(padLeft(took, 9)) + "  " + line(s.Detail)
}
