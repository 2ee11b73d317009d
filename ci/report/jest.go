package report

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// jestReport is what `jest --json` writes, as far as it is read. JUnit made by jest-junit hides retries, so this is the
// truth about a Jest run.
type jestReport struct {
	TestResults []struct {
		Name             string `json:"name"`
		Status           string `json:"status"`
		Message          string `json:"message"`
		AssertionResults []struct {
			AncestorTitles  []string `json:"ancestorTitles"`
			Title           string   `json:"title"`
			FullName        string   `json:"fullName"`
			Status          string   `json:"status"`
			Invocations     int      `json:"invocations"`
			FailureMessages []string `json:"failureMessages"`
			Location        *struct {
				Line   int `json:"line"`
				Column int `json:"column"`
			} `json:"location"`
		} `json:"assertionResults"`
	} `json:"testResults"`
}

var (
	// seedSuffix is what @fast-check/jest appends to a test's name, a new one at every run.
	seedSuffix = regexp.MustCompile(` \(with seed=(-?\d+)\)$`)
	// jestFrame is a line of a stack trace: "at Object.toBe (path:5:31)", "at path:5:31".
	jestFrame = regexp.MustCompile(`^\s*at (?:.*? \()?((?:file://|[A-Za-z]:)?[^():]+):(\d+):(\d+)\)?$`)

	fastCheckSettings = regexp.MustCompile(`\{ seed: (-?\d+), path: "([\d:]*)", endOnFailure: true \}`)
	fastCheckExample  = regexp.MustCompile(`(?m)^Counterexample: ((?:.*\n??)+?)\s*(?:^Shrunk |\z)`)
	fastCheckShrunk   = regexp.MustCompile(`(?m)^Shrunk (\d+) time\(s\)`)
)

// jest reads a Jest JSON report.
func (r reader) jest(data []byte) (failures []Failure, n tally) {
	var report jestReport
	if json.Unmarshal(data, &report) != nil {
		return nil, tally{}
	}
	for _, suite := range report.TestResults {
		file := r.tree.relative(suite.Name)
		failed := 0
		for _, test := range suite.AssertionResults {
			title, seed := jestTitle(test.AncestorTitles, test.Title)
			switch test.Status {
			case "passed":
				n.passed++
				if test.Invocations > 1 {
					n.flaky = append(n.flaky, title)
				}
				continue
			case "failed":
				n.failed++
				failed++
			default: // pending, todo, disabled, skipped
				n.skipped++
				continue
			}
			if len(failures) > maxFailures {
				continue
			}
			f := r.jestFailure(file, title, strings.Join(test.FailureMessages, "\n\n"))
			fullName := seedSuffix.ReplaceAllString(test.FullName, "")
			if seed == "" && f.Line == 0 && test.Location != nil {
				// @fast-check/jest defines the test itself, so its location is a line of that library
				f.Line, f.Column = test.Location.Line, test.Location.Column
			}
			if seed != "" {
				f.Seed = seed
			}
			f.Reproduce = r.jestCommand(file, fullName, seed)
			failures = append(failures, f)
		}
		if suite.Status == "failed" && failed == 0 { // the file did not load
			n.failed++
			_, message, _ := strings.Cut(strings.TrimSpace(plain(suite.Message)), "\n")
			f := r.jestFailure(file, "", undent(strings.Split(message, "\n")))
			f.Title = r.suiteTitle(file, f.Message)
			f.Reproduce = r.jestCommand(file, "", "")
			failures = append(failures, f)
		}
	}
	return failures, n
}

// jestTitle is a test's name without the seed, and the seed.
func jestTitle(ancestors []string, title string) (name, seed string) {
	if m := seedSuffix.FindStringSubmatch(title); m != nil {
		title, seed = strings.TrimSuffix(title, m[0]), m[1]
	}
	return strings.Join(append(ancestors[:len(ancestors):len(ancestors)], title), " › "), seed
}

// suiteTitle names the cause why a test file did not load.
func (r reader) suiteTitle(file, message string) string {
	for l := range strings.Lines(message) {
		if l = strings.TrimSpace(l); l != "" {
			return l
		}
	}
	return file + " did not load"
}

// jestFailure reads one failure message: where it happened, and what a property test says about its counterexample.
func (r reader) jestFailure(file, title, message string) Failure {
	message = plain(beginning(message))
	f := Failure{Title: title, File: file}
	if m := fastCheckSettings.FindStringSubmatch(message); m != nil {
		f.Seed, f.Replay = m[1], `{ seed: `+m[1]+`, path: "`+m[2]+`", endOnFailure: true }`
		if m := fastCheckExample.FindStringSubmatch(message); m != nil {
			f.Example = strings.TrimSpace(m[1])
		}
		if m := fastCheckShrunk.FindStringSubmatch(message); m != nil {
			f.Shrinks, _ = strconv.Atoi(m[1])
		}
	}
	var kept []string
	frames := 0
	for _, l := range strings.Split(message, "\n") {
		m := jestFrame.FindStringSubmatch(l)
		trimmed := strings.TrimSpace(l)
		switch {
		case m != nil:
			at := r.tree.relative(m[1])
			if foreign(at) {
				continue
			}
			if frames == 0 {
				f.File = at
				f.Line, _ = strconv.Atoi(m[2])
				f.Column, _ = strconv.Atoi(m[3])
			}
			if frames++; frames <= 3 {
				kept = append(kept, l)
			}
		case strings.HasPrefix(trimmed, "at ") && len(kept) > 0 && (strings.Contains(l, "<anonymous>") || strings.Contains(l, "(node:")):
		case f.Seed != "" && (fastCheckSettings.MatchString(l) || strings.HasPrefix(l, "Shrunk ") || strings.HasPrefix(l, "Counterexample: ") || strings.HasPrefix(l, "Hint: ")):
		default:
			kept = append(kept, l)
		}
	}
	f.Message = squeeze(kept)
	if _, cause, ok := strings.Cut(f.Message, "\n[cause]: "); ok && f.Seed != "" {
		f.Message = cause // what fast-check says around it is in the other fields
	}
	return f
}

// squeeze joins lines, with never more than one blank line together.
func squeeze(lines []string) string {
	var kept []string
	for _, l := range lines {
		l = strings.TrimRight(l, " \t")
		if l == "" && (len(kept) == 0 || kept[len(kept)-1] == "") {
			continue
		}
		kept = append(kept, l)
	}
	return strings.TrimRight(strings.Join(kept, "\n"), "\n")
}
