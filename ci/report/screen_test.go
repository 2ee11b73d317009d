package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func shown(t *testing.T, r *Report, columns int, colour bool) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, WriteScreen(&b, r, columns, colour))
	return b.String()
}

func TestTheFinalScreen(t *testing.T) {
	golden(t, "refused.txt", shown(t, refusedSample(), 80, false))
	golden(t, "passed.txt", shown(t, passedSample(), 80, false))
	golden(t, "broken.txt", shown(t, brokenSample(), 80, false))
	golden(t, "refused.ansi", strings.ReplaceAll(shown(t, refusedSample(), 100, true), "\x1b", "␛"))
}

func TestTheFirstScreenOfAFailedRunNamesTheCause(t *testing.T) {
	wordy := refusedSample()
	for i := range wordy.Reasons {
		wordy.Reasons[i] = strings.Repeat("a reason with many words ", 20)
	}
	wordy.Failures[0].Title = "formatBytes › writes kibibytes " + strings.Repeat("and so on ", 30)
	for name, r := range map[string]*Report{"refused": refusedSample(), "broken": brokenSample(), "wordy": wordy} {
		lines := strings.Split(shown(t, r, 80, false), "\n")
		first := strings.Join(lines[:min(len(lines), 24)], "\n")
		assert.Contains(t, first, r.Verdict.word(), name)
		assert.Contains(t, first, firstWords(r.Failures[0].Title), name)
		assert.Contains(t, first, r.Failures[0].Place(), name)
	}
	lines := strings.Split(shown(t, refusedSample(), 80, false), "\n")
	assert.Contains(t, strings.Join(lines[:24], "\n"), refusedSample().Failures[0].Reproduce, "and how to see it again")
}

func firstWords(s string) string { return strings.Join(strings.Fields(s)[:3], " ") }

func TestNothingButCommandsIsWiderThanTheTerminal(t *testing.T) {
	for name, r := range samples() {
		for i := range r.Failures {
			r.Failures[i].Replay = "" // code is to be copied too
		}
		for _, columns := range []int{40, 80, 200} {
			for l := range strings.Lines(shown(t, r, columns, true)) {
				l = strings.TrimRight(l, "\n")
				if command := strings.Contains(l, "$ "); !command && !strings.HasPrefix(l, "\x1b[2mreport") {
					assert.LessOrEqual(t, width(l), columns, "%s: %q", name, l)
				}
			}
		}
	}
}

func TestTextFromOutsideCannotControlTheTerminal(t *testing.T) {
	for l := range strings.Lines(shown(t, hostileSample(), 80, false)) {
		assert.NotContains(t, l, "\x1b")
		assert.NotContains(t, l, "\u202e")
		assert.NotContains(t, l, "\r")
	}
}

func TestManyFailuresAndReasonsAreCounted(t *testing.T) {
	r := refusedSample()
	for i := range 30 {
		r.Reasons = append(r.Reasons, fmt.Sprint("reason ", i))
		r.Failures = append(r.Failures, Failure{Title: fmt.Sprint("failure ", i)})
	}
	text := shown(t, r, 80, false)
	assert.Contains(t, text, "… 31 more reasons in the report")
	assert.Contains(t, text, "… 25 failures more in the report")
	assert.Less(t, strings.Count(text, "\n"), 150)
}

func TestAnEmptyReportIsWritten(t *testing.T) {
	text := shown(t, &Report{}, 80, false)
	assert.Contains(t, text, "BROKEN")
}
