package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// junitSuite is a <testsuite> or <testsuites>; JUnit files nest them freely.
type junitSuite struct {
	Suites []junitSuite `xml:"testsuite"`
	Cases  []junitCase  `xml:"testcase"`
}

type junitCase struct {
	Class    string       `xml:"classname,attr"`
	Name     string       `xml:"name,attr"`
	File     string       `xml:"file,attr"`
	Line     string       `xml:"line,attr"` // counts from 0 where pytest wrote it
	Failures []junitCause `xml:"failure"`
	Errors   []junitCause `xml:"error"`
	Skipped  *struct{}    `xml:"skipped"`
	Reruns   []struct{}   `xml:"rerunFailure"`
	Flaky    []struct{}   `xml:"flakyFailure"`
}

type junitCause struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

var (
	// pyFrame is pytest's "path.py:7: AssertionError" and "path.py:16: in test_kind".
	pyFrame = regexp.MustCompile(`(?m)^([^\s:][^:\n]*\.pyi?):(\d+):(?: |$)`)
	// pyError is a line of the report that pytest marks as the error itself.
	pyError = regexp.MustCompile(`^E(?:   |$)`)

	hypothesisExample = regexp.MustCompile(`(?m)^(?:Falsifying (?:explicit )?example|Failing (?:explicit )?test case): ((?:.*\n?)*?\))\s*$`)
	hypothesisBlob    = regexp.MustCompile(`@reproduce_failure\('[^'\n]*', b'[^'\n]*'\)`)
	hypothesisSeed    = regexp.MustCompile(`--hypothesis-seed=(\d+)`)
	hypothesisHelp    = regexp.MustCompile(`(?s)\n+You can (?:reproduce this|add @seed).*?(?:\n\n|\z)`)
)

// junit reads a JUnit XML report; pytest's is the one it knows best.
func (r reader) junit(data []byte, log string) (failures []Failure, n tally) {
	decoder := xml.NewDecoder(bytes.NewReader(data))
	decoder.Strict = false
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil } // plain() mends it
	var root junitSuite
	if decoder.Decode(&root) != nil {
		return nil, tally{}
	}
	for _, c := range root.all(nil, 0) {
		causes := append(c.Failures[:len(c.Failures):len(c.Failures)], c.Errors...)
		switch {
		case len(causes) > 0:
			n.failed++
			if len(failures) <= maxFailures {
				failures = append(failures, r.junitFailure(c, causes[0], log))
			}
		case c.Skipped != nil:
			n.skipped++
		default:
			n.passed++
			if len(c.Reruns)+len(c.Flaky) > 0 {
				n.flaky = append(n.flaky, c.Name)
			}
		}
	}
	return failures, n
}

// all are the test cases of a suite and of those within it.
func (s junitSuite) all(cases []junitCase, depth int) []junitCase {
	const deepest = 20
	cases = append(cases, s.Cases...)
	if depth < deepest {
		for _, inner := range s.Suites {
			cases = inner.all(cases, depth+1)
		}
	}
	return cases
}

func (r reader) junitFailure(c junitCase, cause junitCause, log string) Failure {
	message, text := plain(beginning(cause.Message)), plain(beginning(cause.Text))
	f := Failure{Title: c.Name, Message: message}

	frames := pyFrame.FindAllStringSubmatch(text, -1)
	module, classes := r.pythonModule(c, frames)
	if len(classes) > 0 {
		f.Title = strings.Join(append(classes, c.Name), " › ")
	}
	if module != "" {
		f.File = r.tree.relative(module)
	}
	if n, err := strconv.Atoi(c.Line); err == nil && c.File != "" {
		f.Line = n + 1
	}
	for i := len(frames) - 1; i >= 0; i-- { // the deepest line of the application itself
		if at := r.tree.relative(frames[i][1]); !foreign(at) {
			f.File = at
			f.Line, _ = strconv.Atoi(frames[i][2])
			break
		}
	}
	if detail := pytestDetail(text); detail != "" {
		f.Message = detail
	}
	if message == "collection failure" { // the test file did not load
		f.Title = lastOf(strings.Split(f.Message, "\n"))
		f.Reproduce = r.pytestCommand(module, "", false)
		return r.hypothesis(f, message)
	}
	f = r.hypothesis(f, message+"\n"+pytestSaid(text)+"\n")
	property := f.Example != "" || f.Replay != ""
	if property && f.Seed == "" {
		if m := hypothesisSeed.FindStringSubmatch(strings.Join([]string{message, text, log, strings.Join(r.command, " ")}, "\n")); m != nil {
			f.Seed = m[1]
		}
	}
	node := module
	if node != "" {
		node = strings.Join(append(append([]string{node}, classes...), c.Name), "::")
		f.Reproduce = r.pytestCommand(node, f.Seed, property)
	}
	return f
}

// hypothesis moves what Hypothesis says from the message into fields.
func (r reader) hypothesis(f Failure, text string) Failure {
	if m := hypothesisExample.FindStringSubmatch(text); m != nil {
		f.Example = compact(m[1])
		if i := strings.Index(f.Message, m[0][:strings.Index(m[0], "(")]); i > 0 {
			f.Message = strings.TrimRight(f.Message[:i], "\n")
		}
	}
	f.Replay = hypothesisBlob.FindString(text)
	f.Message = strings.TrimSpace(hypothesisHelp.ReplaceAllString(f.Message, "\n"))
	return f
}

// compact puts a call that was written one argument a line on one line.
func compact(call string) string {
	one := strings.Join(strings.Fields(call), " ")
	one = strings.NewReplacer("( ", "(", ", )", ")", ",)", ")").Replace(one)
	if len(one) <= 100 {
		return one
	}
	return call
}

// pytestDetail is the part of a pytest report that says what was wrong: the failing line and pytest's "E" lines.
func pytestDetail(text string) string {
	said := pytestSaid(text)
	if said == "" {
		return ""
	}
	var source string
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, ">") {
			source = "> " + strings.TrimSpace(l[1:])
		} else if pyError.MatchString(strings.TrimRight(l, "\n")) {
			break
		}
	}
	return squeeze([]string{source, said})
}

// pytestSaid are pytest's "E" lines without their margin.
func pytestSaid(text string) string {
	var said []string
	for _, l := range strings.Split(text, "\n") {
		if pyError.MatchString(l) {
			said = append(said, strings.TrimRight(" "+l[1:], " "))
		}
	}
	return undent(said)
}

// pythonModule finds a test's file, relative to the step's directory, and the classes it is in. JUnit of the xunit2
// family has no file, only the dotted name; a line of the trace that fits it decides where the module ends.
func (r reader) pythonModule(c junitCase, frames [][]string) (file string, classes []string) {
	if c.Class == "" { // a file that could not be collected
		return dotted(c.Name), nil
	}
	if c.File != "" {
		return c.File, after(c.Class, c.File)
	}
	for _, frame := range frames {
		if candidate := path.Clean(frame[1]); strings.HasPrefix(c.Class+".", module(candidate)+".") {
			return candidate, after(c.Class, candidate)
		}
	}
	words := strings.Split(c.Class, ".")
	for len(words) > 1 && strings.ToUpper(words[len(words)-1][:min(1, len(words[len(words)-1]))]) == words[len(words)-1][:min(1, len(words[len(words)-1]))] {
		classes = append([]string{words[len(words)-1]}, classes...)
		words = words[:len(words)-1]
	}
	return dotted(strings.Join(words, ".")), classes
}

// dotted is the file of a dotted module name.
func dotted(name string) string {
	if name == "" || strings.ContainsAny(name, "/ ") {
		return name
	}
	return strings.ReplaceAll(name, ".", "/") + ".py"
}

// module is the dotted name of a file.
func module(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(file, ".py"), "/", ".")
}

// after are the classes that follow the module in a dotted name.
func after(class, file string) []string {
	rest, ok := strings.CutPrefix(class, module(file)+".")
	if !ok || rest == "" {
		return nil
	}
	return strings.Split(rest, ".")
}

func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
