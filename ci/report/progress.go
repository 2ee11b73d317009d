package report

import (
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"

	"github.com/metaextract/pipeline/ci"
)

// Progress shows a run as it happens and its report at the end. All methods are safe for concurrent use, and none of
// them fails: what cannot be written is lost, the run goes on.
type Progress interface {
	ci.Observer
	// StageStarted says that a stage begins. A step of a stage that was not started starts it.
	StageStarted(name string)
	// StageFinished says how a stage ended. Its steps, detail and cached flag are shown where they were not known before.
	StageFinished(stage Stage)
	// TrafficTick tells the traffic so far: requests sent, requests dropped, p95 in milliseconds.
	TrafficTick(requests, failed int, p95 float64)
	// Note says something worth knowing: what is skipped and why, where a server listens.
	Note(text string)
	// Finish shows the report and ends the progress; what comes after it is not shown.
	Finish(report *Report)
	// Close gives the terminal back when a run ends without a report. After Finish it does nothing.
	Close()
}

// Mode is a way to show progress.
type Mode string

// The modes.
const (
	TTY    Mode = "tty"    // a live tree, redrawn in place
	Plain  Mode = "plain"  // a line an event, without control sequences
	GitHub Mode = "github" // groups, annotations and a job summary of GitHub Actions
	Silent Mode = "silent" // nothing: for output that a program reads
)

// DetectMode says which mode fits where the output goes. getenv is os.Getenv, or a test's.
func DetectMode(getenv func(string) string, isTTY bool) Mode {
	switch {
	case getenv("GITHUB_ACTIONS") == "true":
		return GitHub
	case !isTTY, getenv("TERM") == "dumb":
		return Plain
	case getenv("CI") == "true", getenv("CI") == "1": // a terminal that nobody looks at
		return Plain
	default:
		return TTY
	}
}

// settings are what a Progress needs from its surroundings.
type settings struct {
	getenv func(string) string
	now    func() time.Time
	size   func() (columns, rows int)
	tick   func() (<-chan time.Time, func()) // when to redraw, and how to stop that
}

// Option changes what a Progress takes from its surroundings.
type Option func(*settings)

// WithEnv replaces os.Getenv: NO_COLOR, COLUMNS, GITHUB_STEP_SUMMARY.
func WithEnv(getenv func(string) string) Option {
	return func(s *settings) { s.getenv = getenv }
}

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option {
	return func(s *settings) { s.now = now }
}

// WithSize replaces the size of the terminal.
func WithSize(columns, rows int) Option {
	return func(s *settings) { s.size = func() (int, int) { return columns, rows } }
}

// withTicks redraws when a test says so.
func withTicks(c <-chan time.Time) Option {
	return func(s *settings) { s.tick = func() (<-chan time.Time, func()) { return c, func() {} } }
}

// Sizes of a terminal that does not tell its own.
const (
	defaultColumns = 80
	defaultRows    = 24
	redraw         = 100 * time.Millisecond
)

// NewProgress starts showing progress on w. Call Finish or Close: in TTY mode the cursor is hidden until then.
func NewProgress(w io.Writer, mode Mode, options ...Option) Progress {
	s := settings{
		getenv: os.Getenv,
		now:    time.Now,
		tick: func() (<-chan time.Time, func()) {
			t := time.NewTicker(redraw)
			return t.C, t.Stop
		},
	}
	s.size = func() (int, int) { return terminalSize(w, s.getenv) }
	for _, option := range options {
		option(&s)
	}
	switch mode {
	case TTY:
		return newLive(w, s)
	case GitHub:
		return newGitHub(w, s)
	case Silent:
		return silent{}
	default:
		return newLines(w, s)
	}
}

// terminalSize asks the terminal, then the environment.
func terminalSize(w io.Writer, getenv func(string) string) (columns, rows int) {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	columns, rows = defaultColumns, defaultRows
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		columns = n
	}
	return columns, rows
}

// silent shows nothing.
type silent struct{}

func (silent) StepStarted(ci.Step, time.Time) {}
func (silent) StepFinished(ci.Result)         {}
func (silent) StageStarted(string)            {}
func (silent) StageFinished(Stage)            {}
func (silent) TrafficTick(int, int, float64)  {}
func (silent) Note(string)                    {}
func (silent) Finish(*Report)                 {}
func (silent) Close()                         {}
