package adopt

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/history"
)

// judge makes a plan of the evidence.
type judge struct {
	*evidence
	plan     *Plan
	all      []folder.Migration
	reached  []bool // which of them are applied, by what is known of their own files
	top      int    // the last of those
	verdicts map[*file]Verdict
}

func (p *Plan) judge(e *evidence) {
	j := judge{evidence: e, plan: p, all: e.source.Migrations(), top: none, verdicts: map[*file]Verdict{}}
	j.reached = make([]bool, len(j.all))
	p.Evidence, p.Files, p.Findings, p.Version = []Evidence{}, []File{}, append([]finding.Finding{}, e.findings...), history.NoVersion
	for _, t := range slices.Concat(e.matched, e.ambiguous, e.unmatched, e.programs) {
		p.Evidence = append(p.Evidence, Evidence{Runner: t.name, Table: t.String(), Rows: t.rows, Files: len(t.claims)})
	}
	for _, f := range e.files {
		if f.own && len(f.claims) > 0 {
			j.reached[f.place], j.top = true, max(j.top, f.place)
		}
	}
	if j.top != none {
		p.Version = j.all[j.top].Version
	}
	for _, f := range e.files {
		j.verdicts[f] = j.verdict(f)
		p.Files = append(p.Files, j.line(f))
	}
	j.pending()
	j.absent()
	j.useless()
	j.order()
	j.accept()
	j.write()
	finding.Sort(p.Findings)
}

// verdict judges a file, with a finding where somebody has to do something.
func (j *judge) verdict(f *file) Verdict {
	stopped := slices.IndexFunc(f.claims, func(c claim) bool { return c.failed })
	switch {
	case stopped >= 0:
		c := f.claims[stopped]
		j.about(f, finding.Refuse, "half-applied", fmt.Sprintf("%s stopped in it, as %s says", c.runner, c.table), "finish or undo it by hand, then tell "+c.runner+" which of both you did")
		return HalfApplied
	case f.edited():
		j.edited(f)
		return Edited
	case len(f.claims) > 0 && f.place != none && !j.reached[f.place]:
		j.about(f, finding.Refuse, "half-applied", fmt.Sprintf("it was applied, and %s, with which it runs, was not: it would be applied again", j.all[f.place].Name),
			"accept it after a migration that is applied")
		return HalfApplied
	case len(f.claims) > 0:
		return Applied
	case f.place == none:
		j.outside(f)
		return OutOfOrder
	case f.place > j.top:
		return Pending
	case !f.own:
		j.about(f, finding.Warn, "unproven", "it is accepted, and nothing in the database says that it was applied",
			"build a database from the folder alone and compare the schemas: only that proves it")
		return Assumed
	}
	j.outOfOrder(f)
	return OutOfOrder
}

// edited says whether some runner applied the file with other content, and none with this.
func (f *file) edited() bool {
	differs := false
	for _, c := range f.claims {
		switch c.like {
		case same, sameText:
			return false
		case different:
			differs = true
		}
	}
	return differs
}

func (j *judge) edited(f *file) {
	c := f.claims[slices.IndexFunc(f.claims, func(c claim) bool { return c.like == different })]
	found := finding.Finding{Name: "edited", Level: finding.Refuse, Basis: finding.Catalog, File: f.path,
		Message: fmt.Sprintf("it was edited after being applied: %s applied %s, as %s says, and this is another", c.runner, c.stored, c.table),
		Fix: "restore the file (git log -p -- " + f.path + ") and write the change as a new migration. Only the hash was kept, so nobody can say what the edit was: " +
			"where it was of comments or white space alone, write `-- deploy: allow edited REASON` into the file"}
	if f.place != none {
		found.Version = j.all[f.place].Version
		found = found.Allow(j.all[f.place].Declared.Allow)
	}
	j.report(found)
}

// outside is about a file that is no part of the sequence, and was applied by nobody.
func (j *judge) outside(f *file) {
	message, fix := "nothing says that it was applied, and it is no part of the sequence of "+j.plan.Dir+", so it would never run",
		fmt.Sprintf("make it a migration of %s, after all others; where it was applied by hand, add {file: %s, after: NAME} to database.accept, with the migration that it came after", j.plan.Dir, f.path)
	if f.fault != nil {
		message, fix, _ = strings.Cut(strings.TrimPrefix(f.fault.Error(), f.path+": "), ": ")
	}
	j.about(f, finding.Refuse, "out-of-order", message, fix)
}

// outOfOrder is about a migration that a later one has overtaken.
func (j *judge) outOfOrder(f *file) {
	fix := "generate it anew on top of the others"
	for _, t := range j.matched {
		if t.group == f.group && t.tell != nil {
			fix += "; where it was applied by hand, say so to " + t.name + ": " + t.tell(t.relation, f)
			break
		}
	}
	j.about(f, finding.Refuse, "out-of-order", fmt.Sprintf("nothing says that it was applied, and %s, which comes after it, was: it would never run", j.all[j.top].Name), fix)
}

func (j *judge) pending() {
	count := 0
	for f, v := range j.verdicts {
		if v == Pending && f.own {
			count++
		}
	}
	if count > 0 {
		j.add(finding.Note, "pending", "", plural(count, "migration is", "migrations are")+" to be applied by the next run", "")
	}
}

// mostShown are how many lines of one kind are findings of their own.
const mostShown = 20

// absent is about lines of a record whose files are not here.
func (j *judge) absent() {
	count := map[string]int{}
	for _, a := range j.absences {
		what, verdict := a.name(), Missing
		if last := j.last(a.group); a.number != nil && last != nil && a.after(*last) {
			verdict = Newer
		}
		j.plan.Files = append(j.plan.Files, File{File: what, Verdict: verdict, By: a.runner, At: a.at, Why: "in " + a.table})
		if count[a.table]++; count[a.table] > mostShown {
			continue
		}
		switch object := "table " + a.table; {
		case a.program:
			j.add(finding.Refuse, "generated-by-code", object, fmt.Sprintf("%s applied %s, which is a program and no SQL: from the folder alone the schema cannot be made", a.runner, what), baseline)
		case verdict == Newer:
			j.add(finding.Refuse, "newer", object, fmt.Sprintf("%s applied %s, which comes after everything in %s", a.runner, what, a.group),
				"the database is ahead of this checkout: take it over with the release that has the file")
		default:
			j.add(finding.Refuse, "missing", object, fmt.Sprintf("%s applied %s, and it is not in %s", a.runner, what, a.group), a.restore())
		}
	}
	for _, table := range slices.Sorted(maps.Keys(count)) {
		if more := count[table] - mostShown; more > 0 {
			j.add(finding.Refuse, "missing", "table "+table, fmt.Sprintf("%s no file in the folder", plural(more, "more of its entries has", "more of its entries have")), "see the list of files")
		}
	}
}

// baseline is what to do where the schema was made by programs.
const baseline = "take a baseline: write `pg_dump --schema-only` into the first migration, and on the databases that have that schema write its version: " +
	"CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (VERSION, false)"

// last is what orders the last file of a folder.
func (inv *inventory) last(group string) *int64 {
	var last *int64
	for n := range inv.number[group] {
		if last == nil || n > *last {
			last = &n
		}
	}
	return last
}

// after says whether an absent file comes after a folder's last one. drizzle-kit numbers folders by the digits of a time,
// and its table has the same time in milliseconds.
func (a absence) after(last int64) bool {
	number := *a.number
	if last >= 1e13 && number < 1e13 {
		number = asDigits(number)
	}
	return number > last
}

var shownName = regexp.MustCompile(`^[\pL\pN_][\pL\pN_ ./+()-]{0,199}$`)

// name is what a record calls a file, for people, where it looks like the name of one: a table may hold other things.
func (a absence) name() string {
	switch {
	case shownName.MatchString(a.written):
		return a.written
	case a.written != "":
		return "a file of another name"
	case a.number != nil:
		return fmt.Sprintf("version %d", *a.number)
	}
	return "a file without a name"
}

// restore is how the file comes back.
func (a absence) restore() string {
	switch {
	case a.written != "":
		return fmt.Sprintf("restore it: git log --all --diff-filter=D --name-only -- '*%s*'", path.Base(a.name()))
	case a.stored != "":
		return "restore it: the file of git's history whose hash is " + a.stored
	}
	return "restore it, or the name it had"
}

// useless is about tables that say nothing of any file. They are another application's where others do; where none does,
// something has migrated the database that is not understood.
func (j *judge) useless() {
	alone := len(j.matched) == 0
	for _, t := range j.unmatched {
		level := finding.Note
		switch {
		case alone && j.distance(t.relation) < 2 && (t.name != byHand || plain.MatchString(t.Name)):
			level = finding.Refuse
		case alone:
			level = finding.Warn
		}
		j.add(level, "unmatched-evidence", t.object(), fmt.Sprintf("none of its %s, written by %s, is about a file in %s", plural(t.rows, "entry", "entries"), t.name, orList(j.groups())),
			"where it is this application's, name the folder that its runner reads, or, where its migrations are programs, "+baseline+"; otherwise nothing is to be done")
	}
	for _, t := range j.programs {
		level := finding.Warn
		if alone && j.distance(t.relation) < 2 {
			level = finding.Refuse
		}
		j.add(level, "generated-by-code", t.object(), t.name+" migrates by programs, not by SQL: from the folder alone its part of the schema cannot be made", baseline)
	}
	for _, t := range j.unreadable {
		level := finding.Warn
		if alone || j.distance(t.relation) < 2 {
			level = finding.Refuse
		}
		j.add(level, "unreadable-evidence", t.object(), "it may say what was applied, and this role may not read all of it",
			fmt.Sprintf("GRANT SELECT ON %s TO the role, and USAGE on its schema; where it has row-level security, connect as its owner", t.sql()))
	}
	if len(j.plan.Evidence)+len(j.unreadable) == 0 {
		j.add(finding.Note, "no-evidence", "", "no table of the database says that anything was applied", "")
	}
}

// order finds migrations that were applied in another order than theirs: a database that is built anew may differ.
func (j *judge) order() {
	for _, t := range j.matched {
		var before *file
		for _, f := range j.files {
			c, claimed := t.claims[f]
			if !claimed || !f.own || c.at == nil {
				continue
			}
			if before != nil && c.at.Before(*t.claims[before].at) {
				j.about(f, finding.Warn, "another-order", fmt.Sprintf("%s applied it before %s, which it comes after", t.name, before.path), proof)
				break // one is enough to go and look
			}
			before = f
		}
	}
}

// proof is how an order that only times speak for is proven.
const proof = "build a database from the folder alone and compare the schemas: only that proves the order"

func (j *judge) about(f *file, level finding.Level, name, message, fix string) {
	found := finding.Finding{Name: name, Level: level, Basis: finding.Catalog, File: f.path, Message: message, Fix: fix}
	if f.place != none {
		found.Version = j.all[f.place].Version
	}
	j.report(found)
}

func (j *judge) add(level finding.Level, name, object, message, fix string) {
	j.report(finding.Finding{Name: name, Level: level, Basis: finding.Catalog, Object: object, Message: message, Fix: fix})
}

func (j *judge) report(f finding.Finding) { j.plan.Findings = append(j.plan.Findings, f) }

// line is a file for people.
func (j *judge) line(f *file) File {
	l := File{File: f.path, Verdict: j.verdicts[f]}
	if f.place != none {
		version := j.all[f.place].Version
		l.Version = &version
	}
	var by []string
	like := unknown
	for _, c := range f.claims {
		if !slices.Contains(by, c.runner) {
			by = append(by, c.runner)
		}
		if like == unknown || c.like == same || c.like == sameText && like == different {
			like = c.like
		}
		if c.at != nil && (l.At == nil || c.at.Before(*l.At)) {
			at := c.at.UTC()
			l.At = &at
		}
	}
	if l.By = strings.Join(by, ", "); len(by) > 0 {
		l.Why = like.String()
	}
	return l
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// orList is a list of names in a sentence.
func orList(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
