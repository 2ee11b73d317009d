package compat

import (
	"cmp"
	"slices"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Step is a statement of a migration, with its place.
type Step struct {
	Version   int64
	File      string
	Line      int // from 1
	Statement int // in the file, from 1
	Parsed    *statement.Statement
}

// at gives a finding the step's place.
func (s Step) at(f finding.Finding) finding.Finding {
	f.Version, f.File, f.Line, f.Statement = s.Version, s.File, s.Line, s.Statement
	return f
}

// place gives a finding the first object as its own, and the place of the step that is about one of them: that makes or removes
// it, or whose reason names it, or else the first that takes something from its table.
func (c *check) place(f finding.Finding, objects ...statement.Object) finding.Finding {
	f.Object = objects[0].String()
	for _, fits := range []func(Step, statement.Object) bool{makes, names, touches} {
		for _, o := range objects {
			for _, s := range c.Steps {
				if fits(s, o) {
					return s.at(f)
				}
			}
		}
	}
	return f
}

func makes(s Step, o statement.Object) bool {
	it := func(other statement.Object) bool {
		return same(o.Name, other.Name) && o.Part == other.Part && (o.Kind == other.Kind || o.Kind == "" || o.Part != "" || other.Kind == "view")
	}
	return slices.ContainsFunc(s.Parsed.Makes(), it) || slices.ContainsFunc(s.Parsed.Removes(), it)
}

func names(s Step, o statement.Object) bool {
	return word(cmp.Or(o.Part, o.Name.Name)).MatchString(s.Parsed.Why())
}

func touches(s Step, o statement.Object) bool {
	return s.Parsed.Class() == statement.Contract && among(s.Parsed.Tables(), o.Name)
}
