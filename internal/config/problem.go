package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in pipeline.yaml, where it is, and what to do about it. It never holds a secret's value.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // 1 for the first; 0 where the configuration was not read from a file
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path"`           // "components.backend.serve.port"; "" for the file as a whole
	Message string `json:"message"`        // what and why
	Hint    string `json:"hint,omitempty"` // what to do
}

// Error is the problem as one line: file:line:column: path: message; hint.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Errors is every problem found (the first 100, where there are more), in the order of the file.
type Errors struct {
	Problems []Problem
}

// Error is one line a problem.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems as errors, so that errors.As finds a Problem.
func (e *Errors) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// place is a position in the file; both count from 1.
type place struct{ line, column int }

// places remembers where each key and value is written, by path.
type places struct {
	file         string
	keys, values map[string]place
}

// value is where the value at path is written, or else the closest thing around it that is written.
func (p *places) value(path string) place { return p.find(path, p.values, p.keys) }

// key is where the key at path is written, or else the closest thing around it.
func (p *places) key(path string) place { return p.find(path, p.keys, p.values) }

func (p *places) find(path string, first, second map[string]place) place {
	for {
		if at, ok := first[path]; ok {
			return at
		}
		if at, ok := second[path]; ok {
			return at
		}
		if path == "" {
			return place{1, 1}
		}
		path, first, second = parent(path), p.keys, p.values // around it: where its name is
	}
}

// parent is the path around path: "a.b[2]" is in "a.b", that in "a", and that in "".
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// within says whether path is inner or around it.
func within(inner, path string) bool {
	rest, ok := strings.CutPrefix(inner, path)
	return ok && (path == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// maxProblems bounds how many problems are reported. Nobody reads more, and the file may be hostile.
const maxProblems = 100

// reporter collects problems.
type reporter struct {
	written  *places
	problems []Problem
}

func (r *reporter) report(at place, path, message, hint string) {
	p := Problem{File: r.written.file, Line: at.line, Column: at.column, Path: path, Message: message, Hint: hint}
	key := path[len(parent(path)):]
	same := func(q Problem) bool { // what an anchor holds is read at each of its uses
		return q.Line == p.Line && q.Column == p.Column && q.Message == p.Message && strings.HasSuffix(q.Path, key)
	}
	if len(r.problems) < maxProblems && (p.Line == 0 || !slices.ContainsFunc(r.problems, same)) {
		r.problems = append(r.problems, p)
	}
}

// tainted says whether a problem at path, around it or within it is known already: what follows from it is noise.
func (r *reporter) tainted(path string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool { return within(p.Path, path) || within(path, p.Path) })
}

// err is nil where there is no problem.
func (r *reporter) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	sortProblems(r.problems)
	return &Errors{Problems: r.problems}
}

func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
}
