package report

import (
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// unchecked is something that a rehearsal did not check, and why.
type unchecked struct{ What, SQL, Why string }

// notChecked is all that a rehearsal did not check: nothing is passed over in silence.
func notChecked(r *rehearsal.Report) []unchecked {
	var list []unchecked
	add := func(what, sql, why string) { list = append(list, unchecked{what, line(sql), line(why)}) }
	if len(r.Migrations) > 0 {
		if !r.Copy.Real {
			add("Times and plans of the original", "", "the copy was made with other data")
		}
		if r.Compat == nil || r.Plans == nil {
			add("Running release and plans", "", whyNotLooked(r))
		}
	}
	for _, m := range r.Migrations {
		if m.NotProbed > 0 {
			add("Waits in "+rehearsedTitle(m), "", plural(m.NotProbed, "table")+" it locks had no readers and writers: there are too many")
		}
	}
	if r.Backup != nil {
		for _, rung := range r.Backup.Proof {
			if rung.Skipped {
				add("Backup, "+line(rung.Name), "", rung.Detail)
			}
		}
		for _, note := range r.Backup.Notes {
			add("Backup", "", note)
		}
	}
	if c := r.Compat; c != nil {
		for _, n := range c.NotCheckable {
			add("Running release", n.SQL, n.Reason)
		}
	}
	if p := r.Plans; p != nil {
		for _, n := range p.NotCheckable {
			add("Plan", n.SQL, n.Reason)
		}
		for _, n := range p.NotMeasured {
			add("Pages of a plan", n.SQL, n.Reason)
		}
	}
	if d := r.Drift; d != nil && d.NotBuilt != "" {
		add("Drift from the folder", "", d.NotBuilt)
	} else if d != nil && !d.Known {
		add("Drift since the last migration", "", "what it left was not recorded")
	}
	return list
}
