package report

import (
	"regexp"
	"strconv"
	"strings"
)

// log finds what failed in the output of a command that leaves no report. The first reader that recognises something
// wins: they are ordered from the tools whose lines are unmistakable to the shapes that many programs share.
func (r reader) log(lines []string) []Failure {
	for _, read := range []func([]string) []Failure{
		r.eslintLog, r.jestLog, r.pytestLog, r.ruffLog, r.diagnosticLog, r.bundlerLog, r.npmLog, r.pipLog, r.tracebackLog, r.nodeLog,
	} {
		if failures := read(lines); len(failures) > 0 {
			return failures
		}
	}
	return nil
}

var (
	eslintFile    = regexp.MustCompile(`^((?:/|[A-Za-z]:\\|[\w.@-]+/)\S.*\.\w+|[\w.@-]+\.[cm]?[jt]sx?)$`)
	eslintProblem = regexp.MustCompile(`^\s+(\d+):(\d+)\s+(error|warning)\s+(.+?)(?:\s{2,}(\S+))?$`)

	// tsc, plain and pretty.
	tscLine   = regexp.MustCompile(`^(\S[^()]*)\((\d+),(\d+)\): (error) (TS\d+: .+)$`)
	tscPretty = regexp.MustCompile(`^(\S[^:]*):(\d+):(\d+) - (error) (TS\d+: .+)$`)
	// mypy, pylint, ruff --output-format concise, flake8, gcc, go vet: path:line[:column]: message.
	colonLine = regexp.MustCompile(`^([\w./@+-][^:\s]*\.\w+):(\d+):(?:(\d+):)? (?:(error|fatal error|warning|note|info): )?(.+)$`)

	ruffPlace = regexp.MustCompile(`^\s*--> (.+?):(\d+):(\d+)$`)
	ruffRule  = regexp.MustCompile(`^([A-Z]+\d+|[a-z-]+)(?: \[\*\])?:? (.+)$`)
)

// eslintLog reads ESLint's "stylish" format: a file on a line of its own, its problems below it.
func (r reader) eslintLog(lines []string) (failures []Failure) {
	var file string
	var warnings []Failure
	for _, l := range lines {
		if m := eslintProblem.FindStringSubmatch(l); m != nil && file != "" {
			f := r.at(file, m[1], m[2], joinNonEmpty("  ", m[4], m[5]))
			if m[3] == "error" {
				failures = append(failures, f)
			} else {
				warnings = append(warnings, f)
			}
			continue
		}
		if eslintFile.MatchString(l) {
			file = l
		} else if strings.TrimSpace(l) != "" {
			file = ""
		}
	}
	if len(failures) == 0 { // too many warnings for --max-warnings
		return warnings
	}
	return failures
}

// diagnosticLog reads one-line diagnostics.
func (r reader) diagnosticLog(lines []string) (failures []Failure) {
	var warnings []Failure
	for _, l := range lines {
		for _, expression := range []*regexp.Regexp{tscLine, tscPretty, colonLine} {
			m := expression.FindStringSubmatch(l)
			if m == nil || expression == colonLine && (m[4] == "note" || m[4] == "info" || strings.HasPrefix(m[5], "in ")) {
				continue
			}
			f := r.at(m[1], m[2], m[3], m[5])
			if foreign(f.File) {
				break
			}
			if m[4] == "warning" {
				warnings = append(warnings, f)
			} else {
				failures = append(failures, f)
			}
			break
		}
	}
	if len(failures) == 0 {
		return warnings
	}
	return failures
}

// ruffLog reads ruff's full format: the rule, then an arrow to the place, then the source.
func (r reader) ruffLog(lines []string) (failures []Failure) {
	for i, l := range lines {
		m := ruffPlace.FindStringSubmatch(l)
		if m == nil || i == 0 {
			continue
		}
		if rule := ruffRule.FindStringSubmatch(lines[i-1]); rule != nil {
			f := r.at(m[1], m[2], m[3], rule[1]+" "+rule[2])
			f.Message = joinNonEmpty("\n", f.Message, excerpt(lines[i+1:]))
			failures = append(failures, f)
		}
	}
	return failures
}

// excerpt is the block of source with a margin that follows a diagnostic.
func excerpt(lines []string) string {
	const longest = 8
	var kept []string
	for _, l := range lines[:min(len(lines), longest)] {
		if !strings.Contains(l, "|") && !strings.Contains(l, "│") {
			break
		}
		kept = append(kept, l)
	}
	return squeeze(kept)
}

var (
	// Vite 8 (rolldown): "[UNRESOLVED_IMPORT] Could not …", below it "╭─[ src/a.ts:4:22 ]".
	rolldownError = regexp.MustCompile(`^\[([A-Z_]{3,})\] (?:Error: )?(.+)$`)
	rolldownPlace = regexp.MustCompile(`╭─\[ (.+?):(\d+):(\d+) \]`)
	// esbuild: "✘ [ERROR] Could not …", below it "    src/a.ts:4:21:".
	esbuildError = regexp.MustCompile(`^[✘X] \[ERROR\] (.+)$`)
	esbuildPlace = regexp.MustCompile(`^\s+(\S+?):(\d+):(\d+):$`)
	// Vite with rollup: "error during build:", the message, "file: /app/src/a.ts:4:22".
	rollupPlace = regexp.MustCompile(`^(?:file|File): (.+?):(\d+)(?::(\d+))?$`)
	rollupError = regexp.MustCompile(`^(?:\[vite[^\]]*\]:? |error during build:$|RollupError: |\[plugin [^\]]*\] )`)
)

// bundlerLog reads Vite with rolldown or rollup, and esbuild.
func (r reader) bundlerLog(lines []string) (failures []Failure) {
	for i, l := range lines {
		var title string
		place := rolldownPlace
		if m := rolldownError.FindStringSubmatch(l); m != nil {
			title = m[2]
		} else if m := esbuildError.FindStringSubmatch(l); m != nil {
			title, place = strings.TrimSuffix(m[1], " [plugin vite:esbuild]"), esbuildPlace
		}
		if title == "" {
			continue
		}
		f := Failure{Title: title, Message: title}
		for j, near := range lines[i+1 : min(len(lines), i+12)] {
			if m := place.FindStringSubmatch(near); m != nil {
				f = r.at(m[1], m[2], m[3], title)
				f.Message = joinNonEmpty("\n", title, excerpt(lines[i+2+j:]))
				break
			}
		}
		failures = append(failures, f)
	}
	if len(failures) > 0 {
		return failures
	}
	for i, l := range lines {
		if !rollupError.MatchString(l) {
			continue
		}
		title := l
		if strings.HasSuffix(l, ":") {
			title = firstLine(strings.Join(lines[i+1:min(len(lines), i+4)], "\n"))
		}
		f := Failure{Title: title, Message: title}
		for _, near := range lines[i+1 : min(len(lines), i+30)] {
			if m := rollupPlace.FindStringSubmatch(near); m != nil {
				f = r.at(m[1], m[2], m[3], title)
			}
		}
		return []Failure{f}
	}
	return nil
}

var jestBlock = regexp.MustCompile(`^\s*● (.+)$`)

// jestLog reads what Jest prints, for commands that make no report.
func (r reader) jestLog(lines []string) (failures []Failure) {
	seen := map[string]bool{}
	var file string
	for i, l := range lines {
		if rest, ok := strings.CutPrefix(l, "FAIL "); ok {
			file, _, _ = strings.Cut(strings.TrimSpace(rest), " (")
			file = r.tree.relative(file)
		}
		m := jestBlock.FindStringSubmatch(l)
		if m == nil || strings.HasPrefix(m[1], "Console") {
			continue
		}
		end := i + 1
		for end < len(lines) && end < i+60 && !jestBlock.MatchString(lines[end]) &&
			!strings.HasPrefix(lines[end], "Test Suites:") && !strings.HasPrefix(lines[end], "FAIL ") && !strings.HasPrefix(lines[end], "PASS ") {
			end++
		}
		title, seed := jestTitle(nil, m[1])
		if seen[file+title] { // Jest repeats the failures at its end
			continue
		}
		seen[file+title] = true
		f := r.jestFailure(file, title, undent(lines[i+1:end]))
		name := strings.ReplaceAll(title, " › ", " ")
		if title == "Test suite failed to run" {
			f.Title, name = r.suiteTitle(title, f.Message), ""
		}
		f.Reproduce = r.jestCommand(file, name, seed)
		failures = append(failures, f)
	}
	return failures
}

// undent takes the margin off that all lines share.
func undent(lines []string) string {
	margin := -1
	for _, l := range lines {
		if trimmed := strings.TrimLeft(l, " "); trimmed != "" {
			if n := len(l) - len(trimmed); margin < 0 || n < margin {
				margin = n
			}
		}
	}
	kept := make([]string, len(lines))
	for i, l := range lines {
		kept[i] = l[min(len(l), max(margin, 0)):]
	}
	return strings.Join(kept, "\n")
}

// at is a failure at a place, with its message as the title.
func (r reader) at(file, row, column, message string) Failure {
	f := Failure{File: r.tree.relative(strings.TrimSpace(file)), Title: message, Message: message}
	f.Line, _ = strconv.Atoi(row)
	f.Column, _ = strconv.Atoi(column)
	return f
}
