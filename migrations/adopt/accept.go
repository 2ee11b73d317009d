package adopt

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
)

// proposal is a place for a file that was applied and is no part of the sequence.
type proposal struct {
	file  *file
	after int // the place of the migration that it comes after; none for before all
	claim claim
}

// accept proposes where the files that were applied outside the sequence belong in it: by the times that the runners
// stored, or by the files' names where they stored none.
func (j *judge) accept() {
	j.plan.Accept = append([]folder.Accept{}, j.plan.inputs.options.Accept...)
	var list []proposal
	for _, f := range j.files {
		if v := j.verdicts[f]; f.place == none && (v == Applied || v == Edited) {
			list = append(list, proposal{f, none, f.placing()})
		}
	}
	if len(list) > 0 || len(j.plan.Accept) > 0 {
		j.add(finding.Note, "order-unproven", "", "the places of accepted files follow from the times that were stored (of drizzle-kit's migrations that of their generation), or from names where there are none", proof)
	}
	if len(list) == 0 {
		return
	}
	if j.top == none {
		j.about(list[0].file, finding.Refuse, "nothing-to-follow", fmt.Sprintf("it was applied, and no migration of %s was, with which it could run", j.plan.Dir),
			"make the folder whose files were applied the one in pipeline.yaml, and generate the others on top")
		return
	}
	own := j.placings()
	for i := range list {
		list[i].after = j.after(list[i], own)
	}
	slices.SortStableFunc(list, func(a, b proposal) int {
		return cmp.Or(cmp.Compare(a.after, b.after), compareClaims(a.claim, b.claim))
	})
	for _, l := range list {
		a := folder.Accept{File: l.file.path}
		if l.after != none {
			a.After = j.all[l.after].Name
		}
		j.plan.Accept = append(j.plan.Accept, a)
	}
	j.add(finding.Refuse, "not-accepted", "", fmt.Sprintf("%s no part of the sequence of %s: %s", plural(len(list), "file that was applied is", "files that were applied are"), j.plan.Dir, firstOf(list)),
		"write under database in pipeline.yaml, and look again:\n"+j.plan.YAML())
}

func firstOf(list []proposal) string {
	const most = 3
	var names []string
	for _, l := range list[:min(len(list), most)] {
		names = append(names, l.file.path)
	}
	text := names[0]
	for _, n := range names[1:] {
		text += ", " + n
	}
	if len(list) > most {
		text += " …"
	}
	return text
}

// placing is the claim that says most of when a file was applied.
func (f *file) placing() claim {
	return slices.MinFunc(f.claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(exactness(a), exactness(b)), compareClaims(a, b))
	})
}

// exactness ranks what a claim says of the time.
func exactness(c claim) int {
	switch {
	case c.at != nil:
		return 0
	case c.made != nil:
		return 1
	}
	return 2
}

// compareClaims orders claims by time, those without one first, and what one record has at one time as it was written.
func compareClaims(a, b claim) int {
	at := func(c claim) time.Time {
		if w := c.when(); w != nil {
			return *w
		}
		return time.Time{}
	}
	if c := at(a).Compare(at(b)); c != 0 || a.table != b.table {
		return c
	}
	return cmp.Compare(a.order, b.order)
}

// placings are the claims by which the applied migrations are placed; without a table for those that are not applied.
func (j *judge) placings() []claim {
	list := make([]claim, len(j.all))
	for _, f := range j.files {
		if f.own && len(f.claims) > 0 {
			list[f.place] = f.placing()
		}
	}
	return list
}

// after is the last migration that was applied before a file.
func (j *judge) after(p proposal, own []claim) int {
	last, timed := none, false
	for place, c := range own {
		if c.when() == nil {
			continue
		}
		timed = true
		if p.claim.when() != nil && compareClaims(c, p.claim) < 0 {
			last = place
		}
	}
	if timed && p.claim.when() != nil {
		return last
	}
	if p.file.irregular {
		beside := slices.IndexFunc(j.all, func(m folder.Migration) bool { return m.Name == p.file.after })
		return min(beside, j.top)
	}
	return none
}
