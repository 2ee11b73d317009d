package rehearsal

import (
	"fmt"

	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/rules"
)

// hints adds what static rules expect of the statements. On a copy that holds the original's data they decide nothing: what
// was measured does, and the hint is a note beside it, with its recipe for where the measurement refuses.
func (r *run) hints() {
	for _, m := range r.Pending {
		s, err := r.Source.Script(m, folder.Up)
		if err != nil {
			continue // measured, so read before
		}
		hints, err := rules.Check(s, r.known)
		if err != nil {
			continue // what cannot be parsed is told by statement
		}
		for _, h := range hints {
			h.Version = m.Version
			if st := r.measured(m.Version, h.Statement); st != nil && r.Real && h.Level != finding.Refuse {
				h.Level = finding.Note
				h.Message += fmt.Sprintf("; measured on the data as they are: readers waited %s, writers %s", show(st.BlockedReadsMS), show(st.BlockedWritesMS))
			}
			r.found(h)
		}
	}
}

func (r *run) measured(version int64, number int) *Statement {
	for i := range r.report.Statements {
		if s := &r.report.Statements[i]; s.Version == version && s.Number == number {
			return s
		}
	}
	return nil
}

// recipe is the safe form of a statement, where a rule knows one.
func (r *run) recipe(st *Statement) string {
	for _, m := range r.Pending {
		if m.Version != st.Version {
			continue
		}
		s, err := r.Source.Script(m, folder.Up)
		if err != nil {
			return ""
		}
		hints, err := rules.Check(s, r.known)
		if err != nil {
			return ""
		}
		for _, h := range hints {
			if h.Statement == st.Number && h.Fix != "" {
				return h.Fix
			}
		}
	}
	return ""
}

func strength(mode string) int { return evidence.Strength(mode) }
