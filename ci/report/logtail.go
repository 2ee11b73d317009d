package report

import (
	"regexp"
	"strings"
)

var (
	pytestShort = regexp.MustCompile(`^(?:FAILED|ERROR) (\S+?\.py)(?:::(\S+))?(?: - (.+))?$`)
	npmCode     = regexp.MustCompile(`^npm (?:error|ERR!)(?: code (\S+))?\s?(.*)$`)
	pipError    = regexp.MustCompile(`^(?:ERROR|error): (.+)$`)
	pyFile      = regexp.MustCompile(`^\s*File "([^"]+)", line (\d+)`)
	pyRaised    = regexp.MustCompile(`^(?:[\w.]+\.)?(\w*(?:Error|Exception|Warning|Interrupt|Exit)\b|\w+\.\w+): ?(.*)$`)
	nodeRaised  = regexp.MustCompile(`^(?:Uncaught )?(\w*Error(?: \[\w+\])?): (.+)$`)
	nodeSource  = regexp.MustCompile(`^(?:file://)?(/\S+?|\S+?\.[cm]?[jt]sx?):(\d+)$`)
)

// pytestLog reads pytest's short summary, and the section of each test it names, for commands that make no report.
func (r reader) pytestLog(lines []string) (failures []Failure) {
	for _, l := range lines {
		m := pytestShort.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		f := Failure{File: r.tree.relative(m[1]), Title: strings.ReplaceAll(m[2], "::", " › "), Message: m[3]}
		section := pytestSection(lines, m[1], strings.ReplaceAll(m[2], "::", "."))
		if detail := pytestDetail(section); detail != "" {
			f.Message = detail
		}
		if f.Title == "" {
			f.Title = joinNonEmpty(": ", m[1], lastOf(strings.Split(f.Message, "\n")))
		}
		frames := pyFrame.FindAllStringSubmatch(section, -1)
		for i := len(frames) - 1; i >= 0; i-- {
			if at := r.at(frames[i][1], frames[i][2], "", ""); !foreign(at.File) {
				f.File, f.Line = at.File, at.Line
				break
			}
		}
		f = r.hypothesis(f, pytestSaid(section))
		f.Reproduce = r.pytestCommand(joinNonEmpty("::", m[1], m[2]), "", f.Example != "")
		failures = append(failures, f)
	}
	return failures
}

// pytestHeader begins the section of one test: "____ test_name ____", "____ ERROR at setup of test_name ____".
var pytestHeader = regexp.MustCompile(`^_{2,} (?:ERROR (?:at \w+ of|collecting) )?(.+?) _{2,}$`)

// pytestSection is what pytest printed about one test.
func pytestSection(lines []string, file, test string) string {
	for i, l := range lines {
		m := pytestHeader.FindStringSubmatch(l)
		if m == nil || m[1] != test && (m[1] != file || test != "") {
			continue
		}
		end := i + 1
		for end < len(lines) && !pytestHeader.MatchString(lines[end]) && !strings.HasPrefix(lines[end], "=====") {
			end++
		}
		return strings.Join(lines[i+1:end], "\n")
	}
	return ""
}

// npmLog reads an error of npm itself: its code, and the first lines of its explanation.
func (r reader) npmLog(lines []string) []Failure {
	var code string
	var said []string
	for _, l := range lines {
		m := npmCode.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		if m[1] != "" {
			code = m[1]
			continue
		}
		said = append(said, strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(m[2], code), strings.TrimPrefix(code, "E"))))
	}
	said = meaningful(said)
	text := squeeze(said)
	if text == "" {
		return nil
	}
	if strings.HasPrefix(code, "ELIFECYCLE") || strings.HasPrefix(firstLine(text), "Lifecycle script") {
		return nil // the script says why
	}
	message := strings.Join(clipLines(text, 12), "\n")
	return []Failure{{Title: joinNonEmpty(": ", "npm", code, firstLine(text)), Message: message}}
}

// pipLog reads the errors of pip and uv.
func (r reader) pipLog(lines []string) []Failure {
	var said []string
	for _, l := range lines {
		if m := pipError.FindStringSubmatch(l); m != nil {
			said = append(said, m[1])
		}
	}
	if len(said) == 0 {
		return nil
	}
	// the last one is the conclusion, except where pip only says that an earlier one ended it
	title := said[0]
	return []Failure{{Title: title, Message: strings.Join(said, "\n")}}
}

// tracebackLog reads the last Python traceback.
func (r reader) tracebackLog(lines []string) []Failure {
	start := -1
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), "Traceback (most recent call last)") {
			start = i
		}
	}
	if start < 0 {
		return nil
	}
	var f Failure
	end := start
	for i, l := range lines[start:] {
		if m := pyFile.FindStringSubmatch(l); m != nil {
			if at := r.tree.relative(m[1]); f.File == "" || !foreign(at) {
				f.File, f.Line = at, r.at(m[1], m[2], "", "").Line
			}
		}
		if m := pyRaised.FindStringSubmatch(l); m != nil {
			f.Title, end = strings.TrimSpace(l), start+i+1
			break
		}
	}
	if f.Title == "" {
		return nil
	}
	f.Message = strings.Join(lastLines(lines[start:end], logTail), "\n")
	return []Failure{f}
}

// nodeLog reads an error that ended a Node program.
func (r reader) nodeLog(lines []string) []Failure {
	for i, l := range lines {
		m := nodeRaised.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		f := Failure{Title: l}
		kept := []string{l}
		for j := max(i-6, 0); j < min(len(lines), i+12); j++ {
			source := nodeSource.FindStringSubmatch(lines[j])
			if source == nil {
				source = jestFrame.FindStringSubmatch(lines[j])
			}
			if source == nil {
				continue
			}
			if at := r.at(source[1], source[2], "", ""); !foreign(at.File) && !strings.HasPrefix(source[1], "node:") {
				f.File, f.Line = at.File, at.Line
				kept = append(kept, lines[j])
				break
			}
		}
		f.Message = strings.Join(kept, "\n")
		return []Failure{f}
	}
	return nil
}

// noise are lines that say nothing about the cause.
var noise = regexp.MustCompile(`(?i)^\s*(?:$|npm (?:warn|notice)|\[notice\]|A complete log of this run|> |Node\.js v\d|npm (?:error|ERR!) (?:Lifecycle|path|workspace|location|command|A complete log)|For a full report see|To see a list of scripts|Note that you can also)`)

// meaningful are the lines that are not noise.
func meaningful(lines []string) []string {
	var kept []string
	for _, l := range lines {
		if !noise.MatchString(l) {
			kept = append(kept, l)
		}
	}
	return kept
}

var causeWord = regexp.MustCompile(`(?i)\b(?:error|fail(?:ed|ure)?|fatal|panic|exception|cannot|could not|not found|denied|refused|missing|invalid|unable)\b`)

// likelyCause is the last line that reads like the reason, or the last line.
func likelyCause(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if causeWord.MatchString(lines[i]) {
			return strings.TrimSpace(lines[i])
		}
	}
	return lastOf(lines)
}
