// Package finding is what every check of a migration answers with: one thing found, where, why, and what to do.
package finding

import (
	"cmp"
	"fmt"
	"slices"
)

// Level says what a finding does to the verdict.
type Level string

// The levels, from the one that stops a release to the one that only tells.
const (
	Refuse Level = "refuse" // the migration must not run as it is
	Warn   Level = "warn"   // somebody should look; the release goes on
	Note   Level = "note"   // a fact, or what could not be checked
)

// Basis says what a finding rests on. What was measured overrides what a rule expects.
type Basis string

// The bases.
const (
	Measured Basis = "measured" // seen on a copy of the database
	Catalog  Basis = "catalog"  // follows from the schema before and after
	Declared Basis = "declared" // the migration's own comments
	Static   Basis = "static"   // a rule about the text
)

// Finding is one thing found. The zero place (no version, no file) is the database as a whole.
type Finding struct {
	Name      string `json:"name"` // "blocked-writes": what `-- deploy: allow NAME REASON` names
	Level     Level  `json:"level"`
	Basis     Basis  `json:"basis"`
	Version   int64  `json:"version,omitempty"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Statement int    `json:"statement,omitempty"` // from 1; 0 is the migration as a whole
	Object    string `json:"object,omitempty"`    // "table public.users", "column public.users.email"
	Message   string `json:"message"`             // what is wrong and why, one sentence
	Fix       string `json:"fix,omitempty"`       // what to do; SQL to paste where there is a safe form
	Allowed   string `json:"allowed,omitempty"`   // the reason by which the migration allows it; the level is then Note
}

// Place is where a finding is, for people: FILE:LINE, or nothing.
func (f Finding) Place() string {
	switch {
	case f.File == "":
		return ""
	case f.Line == 0:
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// String is the finding in one line, without the fix.
func (f Finding) String() string {
	text := fmt.Sprintf("%s (%s)", f.Message, f.Name)
	if place := f.Place(); place != "" {
		text = place + ": " + text
	}
	return text
}

// Allow turns the finding into a note where the reasons name it.
func (f Finding) Allow(reasons map[string]string) Finding {
	if reason, ok := reasons[f.Name]; ok && f.Level != Note {
		f.Level, f.Allowed = Note, reason
	}
	return f
}

// Worst is the level that decides among findings; Note where there are none.
func Worst(findings []Finding) Level {
	worst := Note
	for _, f := range findings {
		if rank(f.Level) < rank(worst) {
			worst = f.Level
		}
	}
	return worst
}

// Sort orders findings as people want to read them: the worst first, then by place.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Level), rank(b.Level)), cmp.Compare(a.Version, b.Version), cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Statement, b.Statement))
	})
}

func rank(l Level) int { return slices.Index([]Level{Refuse, Warn, Note}, l) }
