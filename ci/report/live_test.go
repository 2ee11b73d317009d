package report

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci"
)

// terminal understands the control sequences of the live view, and no other.
type terminal struct {
	t      *testing.T
	lines  []string
	row    int
	hidden bool
}

func (v *terminal) Write(data []byte) (int, error) {
	s := string(data)
	for s != "" {
		switch {
		case strings.HasPrefix(s, "\x1b["):
			end := strings.IndexFunc(s[2:], func(r rune) bool { return r >= 0x40 && r <= 0x7e }) + 2
			v.control(s[2:end], s[end])
			s = s[end+1:]
		case s[0] == '\n':
			v.row++
			s = s[1:]
		case s[0] == '\r':
			s = s[1:]
		default:
			end := strings.IndexAny(s, "\x1b\n\r")
			if end < 0 {
				end = len(s)
			}
			v.put(s[:end])
			s = s[end:]
		}
	}
	return len(data), nil
}

// fresh is a line over which nothing was written since the cursor came to it.
const fresh = "\x00"

func (v *terminal) put(text string) {
	for len(v.lines) <= v.row {
		v.lines = append(v.lines, fresh)
	}
	if rest, old := strings.CutPrefix(v.lines[v.row], fresh); old || rest != v.lines[v.row] {
		v.lines[v.row] = ""
	}
	v.lines[v.row] += text
}

func (v *terminal) control(parameter string, command byte) {
	switch command {
	case 'A':
		n, _ := strconv.Atoi(parameter)
		v.row -= n
		if v.row < 0 {
			v.t.Fatalf("cursor %d lines above the screen", -v.row)
		}
		for i := v.row; i < len(v.lines); i++ {
			v.lines[i] = fresh + strings.TrimPrefix(v.lines[i], fresh)
		}
	case 'J':
		v.lines = v.lines[:min(v.row, len(v.lines))]
	case 'K', 'm':
	case 'l':
		v.hidden = true
	case 'h':
		v.hidden = false
	default:
		v.t.Fatalf("unknown control sequence %q %c", parameter, command)
	}
}

func (v *terminal) String() string {
	var b strings.Builder
	for _, l := range v.lines {
		b.WriteString(strings.TrimRight(strings.TrimPrefix(l, fresh), " ") + "\n")
	}
	return b.String()
}

func TestTheLiveTreeIsDrawnInPlace(t *testing.T) {
	v := &terminal{t: t}
	c := &clock{now: began}
	p := NewProgress(v, TTY, WithClock(c.time), WithEnv(environment("NO_COLOR", "1")), WithSize(80, 24), withTicks(nil)).(*live)
	assert.True(t, v.hidden)
	var frames strings.Builder
	frame := func(title string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(&frames, "--- %s\n%s", title, v)
	}
	lint, unit := ci.Step{Name: "backend/lint", Kind: ci.Lint}, frontend
	p.StageStarted("check")
	p.StepStarted(lint, c.time())
	p.StepStarted(unit, c.time())
	frame("started")
	c.move(4200 * time.Millisecond)
	p.turn()
	frame("4.2 s later")
	p.StepFinished(ci.Result{Step: lint, Status: ci.Passed, Started: began, Duration: 4 * time.Second})
	p.StageFinished(Stage{Name: "check", Status: Passed, Seconds: 4})
	p.StepFinished(failedUnit(t))
	frame("unit failed")
	p.StageFinished(Stage{Name: "test", Status: Failed, Seconds: 5.1, Detail: "5 of 9 tests failed"})
	p.StageStarted("switch")
	p.TrafficTick(1204, 2, 11.8)
	p.Note("images were not built: no engine")
	frame("traffic")
	p.Close()
	frame("closed")
	golden(t, "progress.live.txt", frames.String())
	assert.False(t, v.hidden, "the cursor is back")
	assert.Empty(t, v.lines, "nothing of the tree is left")
}

func TestAStageThatNobodyBeganEndsWithItsSteps(t *testing.T) {
	v := &terminal{t: t}
	c := &clock{now: began}
	p := NewProgress(v, TTY, WithClock(c.time), WithEnv(environment("NO_COLOR", "1")), WithSize(80, 24), withTicks(nil))
	defer p.Close()
	install := ci.Step{Name: "frontend/install", Kind: ci.Build}
	p.StepStarted(install, c.time())
	c.move(time.Minute)
	p.StepFinished(ci.Result{Step: install, Status: ci.Passed, Started: began, Duration: 3 * time.Second})
	assert.Regexp(t, `✓ build +3\.0 s`, v.String())
	p.StepStarted(install, c.time())
	assert.Regexp(t, `⠋ build`, v.String(), "another step of it")
}

func TestTheTreeFitsInTheTerminal(t *testing.T) {
	for _, size := range [][2]int{{20, 5}, {40, 10}, {80, 24}, {10, 2}} {
		var b bytes.Buffer
		c := &clock{now: began}
		p := NewProgress(&b, TTY, WithClock(c.time), WithEnv(environment()), WithSize(size[0], size[1]), withTicks(nil)).(*live)
		for i := range 40 {
			p.StepStarted(ci.Step{Name: fmt.Sprintf("component-%d/ein sehr langer Name 漢字", i), Kind: ci.Unit}, c.time())
		}
		b.Reset()
		p.Note("the last drawing")
		drawn := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
		assert.LessOrEqual(t, len(drawn)-1, max(size[1]-1, 3), "a line that scrolled away cannot be drawn over")
		for _, l := range drawn {
			assert.Less(t, width(l), max(size[0], 11))
		}
		p.Close()
	}
}

func TestColourIsLeftOutWhereItIsNotWanted(t *testing.T) {
	for value, coloured := range map[string]bool{"": true, "1": false} {
		var b bytes.Buffer
		p := NewProgress(&b, TTY, WithEnv(environment("NO_COLOR", value)), WithSize(80, 24), withTicks(nil))
		p.StageStarted("check")
		p.Finish(refusedSample())
		assert.Equal(t, coloured, strings.Contains(b.String(), "\x1b[3"), "NO_COLOR=%q", value)
		assert.Contains(t, b.String(), "\x1b[?25h")
	}
}
