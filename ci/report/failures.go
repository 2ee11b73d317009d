package report

import (
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/ci"
)

// Limits on what is read and kept of one step. A report over them is still a report: it says what was cut.
const (
	maxReportBytes  = 32 << 20 // of one report file; a larger one is not read
	maxFailures     = 50       // of one step
	maxMessageBytes = 8 << 10  // of one failure
	maxTitleRunes   = 200
	maxExampleBytes = 2 << 10
	logTail         = 20       // lines kept of a log in which nothing was recognised
	maxTextBytes    = 64 << 10 // of one message, and of one text that is searched for the place where the step ran
	maxLineBytes    = 4 << 10  // of a log; no diagnostic is longer
)

// tally counts the tests of one step.
type tally struct {
	passed, failed, skipped int
	flaky                   []string // passed, but not at the first try
}

func (t tally) total() int { return t.passed + t.failed + t.skipped }

// add sums up two reports of one step.
func (t *tally) add(u tally) {
	t.passed += u.passed
	t.failed += u.failed
	t.skipped += u.skipped
	t.flaky = append(t.flaky, u.flaky...)
}

// String is the one line shown beside a step: "3 of 42 tests failed, 1 skipped, 1 flaky: uploads a photo".
func (t tally) String() string {
	if t.total() == 0 {
		return ""
	}
	text := plural(t.total(), "test")
	if t.failed > 0 {
		text = fmt.Sprintf("%d of %s failed", t.failed, text)
	}
	if t.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", t.skipped)
	}
	if len(t.flaky) > 0 {
		text += fmt.Sprintf(", %d flaky: %s", len(t.flaky), clip(strings.Join(t.flaky, "; "), 80))
	}
	return text
}

// Failures reads the reports and the log that a step left. The failures come with file, line and a command that shows
// them again; a step that did not pass has at least one, except where it was skipped or cancelled: another step's
// failure is the cause of that. The summary is one line for people: "42 tests, 1 flaky: uploads a photo".
// Whatever the step wrote, Failures returns; nothing in it is executed or fetched.
func Failures(result ci.Result) (failures []Failure, summary string) {
	reader := reader{tree: newTree(result.Step, places(result)...), step: result.Step, command: result.Command}

	var tests tally
	var findings int
	for _, file := range result.Reports {
		if len(file.Data) == 0 || len(file.Data) > maxReportBytes {
			continue
		}
		switch file.Format {
		case ci.JestJSON:
			found, n := reader.jest(file.Data)
			failures = append(failures, found...)
			tests.add(n)
		case ci.JUnit:
			found, n := reader.junit(file.Data, string(result.Log))
			failures = append(failures, found...)
			tests.add(n)
		case ci.SARIF:
			found := reader.sarif(file.Data)
			failures = append(failures, found...)
			findings += len(found)
		}
	}
	summary = tests.String()

	switch result.Status {
	case ci.Passed:
		if findings == 0 {
			return nil, summary
		}
		return nil, joinNonEmpty(", ", summary, plural(findings, "finding"))
	case ci.Skipped, ci.Canceled:
		return nil, firstLine(stepError(result))
	case ci.Broken, ci.TimedOut:
		failures = append([]Failure{reader.stopped(result)}, failures...)
	default:
		if len(failures) == 0 {
			failures = reader.log(logLines(result.Log))
			if n := len(failures); n > 1 {
				summary = joinNonEmpty(", ", summary, plural(n, "problem"))
			}
		}
		if len(failures) == 0 {
			failures = []Failure{reader.unrecognised(result)}
		}
	}
	if findings > 0 {
		summary = joinNonEmpty(", ", summary, plural(findings, "finding"))
	}
	if summary == "" {
		summary = firstLine(stepError(result))
	}
	if len(failures) > maxFailures {
		summary = joinNonEmpty(", ", summary, fmt.Sprintf("first %d shown", maxFailures))
		failures = failures[:maxFailures]
	}
	for i := range failures {
		reader.finish(&failures[i])
	}
	return failures, summary
}

// FromResult is a finished step as a line of its stage, and its failures.
func FromResult(result ci.Result) (Stage, []Failure) {
	status := Failed
	switch result.Status {
	case ci.Passed:
		status = Passed
	case ci.Skipped, ci.Canceled:
		status = Skipped
	}
	failures, summary := Failures(result)
	return Stage{
		Name: result.Step.Name, Status: status, Started: result.Started, Seconds: result.Duration.Seconds(),
		Cached: result.Cached, Detail: summary,
	}, failures
}

// reader makes failures of one step.
type reader struct {
	tree    tree
	step    ci.Step
	command []string // that failed
}

// finish fills in what all failures have and keeps every field within its limit.
func (r reader) finish(f *Failure) {
	f.Stage, f.Step = r.step.Kind.Stage(), r.step.Name
	f.Title = clip(line(r.tree.clean(f.Title)), maxTitleRunes)
	if f.Title == "" {
		f.Title = r.step.Name + " failed"
	}
	f.File = line(f.File)
	f.Message = clipBytes(strings.Trim(r.tree.clean(plain(f.Message)), "\n"), maxMessageBytes)
	f.Seed, f.Replay = clip(line(f.Seed), maxTitleRunes), clip(line(f.Replay), maxExampleBytes)
	f.Example = clipBytes(plain(f.Example), maxExampleBytes)
	f.Line, f.Column = max(f.Line, 0), max(f.Column, 0)
	if f.Reproduce == "" {
		f.Reproduce = r.own()
	}
}

// stopped is the failure of a step that could not be run or ran out of time.
func (r reader) stopped(result ci.Result) Failure {
	title := firstLine(stepError(result))
	if title == "" {
		title = fmt.Sprintf("%s %s", result.Step.Name, result.Status)
	}
	parts := []string{stepError(result)}
	if tail := lastLines(logLines(result.Log), logTail); len(tail) > 0 {
		parts = append(parts, "last lines of the log:\n"+strings.Join(tail, "\n"))
	}
	return Failure{Title: title, Message: joinNonEmpty("\n\n", parts...)}
}

// unrecognised is the failure of a command in whose log nothing is known.
func (r reader) unrecognised(result ci.Result) Failure {
	tail := lastLines(meaningful(logLines(result.Log)), logTail)
	command := strings.Join(result.Command, " ")
	if command == "" {
		command = result.Step.Name
	}
	title := fmt.Sprintf("%s: exit code %d", command, result.ExitCode)
	if cause := likelyCause(tail); cause != "" {
		title = cause
	}
	message := strings.Join(tail, "\n")
	if message == "" {
		message = fmt.Sprintf("%s ended with exit code %d and wrote nothing", command, result.ExitCode)
	}
	return Failure{Title: title, Message: message}
}

// stepError is why a step did not pass, without the step's name: it is shown beside it.
func stepError(result ci.Result) string {
	if result.Err == nil {
		return ""
	}
	return strings.TrimPrefix(result.Err.Error(), result.Step.Name+": ")
}

// places are what is searched for the place where the step ran: the beginnings of its reports and of its log.
func places(result ci.Result) []string {
	texts := make([]string, 0, len(result.Reports)+1)
	for _, f := range result.Reports {
		texts = append(texts, string(f.Data[:min(len(f.Data), maxTextBytes)]))
	}
	return append(texts, plain(beginning(string(result.Log))))
}

// beginning is as much of a text as is read.
func beginning(text string) string { return text[:min(len(text), maxTextBytes)] }
