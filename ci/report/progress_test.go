package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func environment(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

// failedUnit is a step that failed, with a log that tries to be a workflow command.
func failedUnit(t testing.TB) ci.Result {
	r := withReport(frontend, ci.JestJSON, fixture(t, "jest", "failures.json"))
	r.Started, r.Duration = began.Add(time.Second), 2700*time.Millisecond
	r.Log = []byte("FAIL src/format.test.ts\n::error::not a command\n\x1b[31m##[error]neither\x1b[0m\n")
	return r
}

// perform plays a run.
func perform(t testing.TB, p Progress, c *clock) {
	lint := ci.Step{Name: "backend/lint", Kind: ci.Lint}
	unit := frontend
	other := ci.Step{Name: "backend/unit", Kind: ci.Unit}
	p.StageStarted("check")
	p.StepStarted(lint, c.time())
	p.StepStarted(unit, c.time()) // its stage was not started
	c.move(1200 * time.Millisecond)
	p.StepFinished(ci.Result{Step: lint, Status: ci.Passed, Started: began, Duration: 1200 * time.Millisecond})
	p.StageFinished(Stage{Name: "check", Status: Passed, Seconds: 1.2})
	p.StepFinished(ci.Result{Step: other, Status: ci.Passed, Cached: true})
	c.move(2500 * time.Millisecond)
	p.StepFinished(failedUnit(t))
	p.StepFinished(ci.Result{Step: ci.Step{Name: "frontend/bundle", Kind: ci.Build}, Status: ci.Skipped, Err: errors.New("frontend/unit did not pass")})
	p.StageFinished(Stage{Name: "test", Status: Failed, Seconds: 3.7, Detail: "5 of 9 tests failed"})
	for i := range 20 {
		p.TrafficTick(100*i, 0, 11.8)
		c.move(time.Second)
	}
	p.TrafficTick(2000, 3, 14)
	p.Note("images were not built:\nno engine")
}

func TestPlainProgress(t *testing.T) {
	var b bytes.Buffer
	c := &clock{now: began}
	p := NewProgress(&b, Plain, WithClock(c.time), WithEnv(environment()), WithSize(80, 24))
	perform(t, p, c)
	p.Finish(&Report{Verdict: Refused, Command: "test", Application: "metaextract"})
	p.Note("after the end")
	p.Finish(&Report{})
	p.Close()
	golden(t, "progress.plain.txt", b.String())
}

func TestGitHubProgress(t *testing.T) {
	var b bytes.Buffer
	summary := filepath.Join(t.TempDir(), "summary.md")
	require.NoError(t, os.WriteFile(summary, []byte("# before\n"), 0o600))
	c := &clock{now: began}
	p := NewProgress(&b, GitHub, WithClock(c.time), WithEnv(environment("GITHUB_STEP_SUMMARY", summary)), WithSize(80, 24))
	perform(t, p, c)
	_, failures := FromResult(failedUnit(t))
	p.Finish(&Report{Verdict: Refused, Command: "test", Application: "metaextract", Reasons: []string{"::error::x"}, Failures: failures})
	p.Finish(&Report{})
	golden(t, "progress.github.txt", b.String())

	written, err := os.ReadFile(summary)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(written), "# before\n## ❌ REFUSED: metaextract: test failed\n"))
}

func TestOnlyOurOwnLinesAreWorkflowCommands(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, GitHub, WithEnv(environment()), WithSize(80, 24))
	c := &clock{now: began}
	perform(t, p, c)
	r := hostileSample()
	p.Note("::stop-commands::x")
	p.Finish(r)
	commands := 0
	for l := range strings.Lines(b.String()) {
		assert.NotContains(t, l, "##[")
		if trimmed := strings.TrimSpace(l); strings.HasPrefix(trimmed, "::") {
			assert.Regexp(t, `^::(group|endgroup|error)`, trimmed)
			commands += strings.Count(trimmed, "::error title=")
		}
	}
	assert.Equal(t, len(r.Failures), commands)
}

func TestAnnotationsStayWithinTheLimitOfAStep(t *testing.T) {
	r := refusedSample()
	for range 40 {
		r.Failures = append(r.Failures, r.Failures[0])
	}
	var b strings.Builder
	require.NoError(t, WriteAnnotations(&b, r))
	assert.Equal(t, 10, strings.Count(b.String(), "::error "))
	assert.Contains(t, b.String(), "::error title=frontend/unit%3A formatBytes › writes kibibytes with one digit,file=frontend/src/format.test.ts,line=5,col=31::")

	b.Reset()
	require.NoError(t, WriteAnnotations(&b, &Report{Verdict: Broken, Reasons: []string{"100 %\nfull"}}))
	assert.Equal(t, "::error title=BROKEN::100 %25%0Afull\n", b.String())
	b.Reset()
	require.NoError(t, WriteAnnotations(&b, passedSample()))
	assert.Empty(t, b.String())
}

func TestTheJobSummaryNeverGrowsOverItsLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary.md")
	r := refusedSample()
	for i := range 3000 {
		f := r.Failures[0]
		f.Title = fmt.Sprint("failure ", i)
		r.Failures = append(r.Failures, f)
	}
	require.NoError(t, appendSummary(path, r))
	require.NoError(t, appendSummary(path, r))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.LessOrEqual(t, info.Size(), int64(1<<20))
	assert.Greater(t, info.Size(), int64(900_000))
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	assert.ErrorContains(t, appendSummary(path, r), "is full")
}

func TestTheModeFitsTheSurroundings(t *testing.T) {
	for _, test := range []struct {
		env  func(string) string
		tty  bool
		want Mode
	}{
		{environment(), true, TTY},
		{environment(), false, Plain},
		{environment("TERM", "dumb"), true, Plain},
		{environment("CI", "true"), true, Plain},
		{environment("GITHUB_ACTIONS", "true"), false, GitHub},
		{environment("NO_COLOR", "1", "TERM", "xterm"), true, TTY},
	} {
		assert.Equal(t, test.want, DetectMode(test.env, test.tty))
	}
}

func TestEveryModeMayBeCalledFromManyGoroutines(t *testing.T) {
	for _, mode := range []Mode{TTY, Plain, GitHub, Silent} {
		t.Run(string(mode), func(t *testing.T) {
			var b bytes.Buffer // guarded by the progress
			ticks := make(chan time.Time)
			c := &clock{now: began}
			p := NewProgress(&b, mode, WithClock(c.time), WithEnv(environment()), WithSize(60, 20), withTicks(ticks))
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 5 {
						perform(t, p, c)
						if mode == TTY {
							ticks <- time.Time{}
						}
					}
				})
			}
			wg.Wait()
			for range 3 {
				wg.Go(func() { p.Finish(passedSample()) })
				wg.Go(p.Close)
			}
			wg.Wait()
			perform(t, p, c)
			if mode != Silent {
				assert.LessOrEqual(t, strings.Count(b.String(), "can be released"), 2, "the report is shown once, in its head and its end")
			}
		})
	}
}
