package adopt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/history"
)

// claim is what one runner's record says of a file.
type claim struct {
	runner   string
	table    string
	at, made *time.Time
	order    int // of the line in its record
	like     likeness
	stored   string // the sum
	failed   bool
}

// when is the time by which the file is placed among others: when it was applied, or else when it was generated.
func (c claim) when() *time.Time { return cmp.Or(c.at, c.made) }

// absence is a line of a record about a file that is not here.
type absence struct {
	runner, table, group string

	written string // what the record calls it; "" where only a number is stored
	number  *int64
	stored  string // the sum
	at      *time.Time
	program bool
}

// table is one record.
type table struct {
	relation
	runner
	rows     int
	group    string // the folder that it is about; "" for none of them
	claims   map[*file]claim
	absences []absence
}

// evidence is everything that a database tells about an inventory.
type evidence struct {
	*inventory
	tables   history.Tables
	version  int64
	dirty    bool
	inForce  map[int64]history.Entry
	absences []absence
	findings []finding.Finding

	matched, ambiguous, unmatched, unreadable, programs []table
}

// gather reads all there is.
func (e *evidence) gather(ctx context.Context, tx pgx.Tx) error {
	all, err := relations(ctx, tx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b relation) int { return cmp.Compare(e.distance(a), e.distance(b)) })
	if err := e.readOwn(ctx, tx, all); err != nil {
		return err
	}
	for _, r := range all {
		if slices.Contains(history.Names, r.Name) && (r.Name != history.StockVersion || e.isOwn(r)) {
			continue
		}
		if known, found := runnerOf(r); found {
			if err := e.readTable(ctx, tx, table{relation: r, runner: known}); err != nil {
				return err
			}
		}
	}
	e.weigh()
	return nil
}

// distance is how near a table is to the session: in its schema, in drizzle-orm's usual one, elsewhere.
func (e *evidence) distance(r relation) int {
	switch r.Schema {
	case e.tables.Schema:
		return 0
	case "drizzle":
		return 1
	}
	return 2
}

// isOwn says whether a table is the one that holds the pipeline's version.
func (e *evidence) isOwn(r relation) bool {
	return r.Schema == e.tables.Schema && r.Name == e.tables.Version
}

func (e *evidence) readTable(ctx context.Context, tx pgx.Tx, t table) error {
	if !t.Readable {
		e.unreadable = append(e.unreadable, t)
		return nil
	}
	tied, err := e.match(ctx, tx, &t)
	switch {
	case errors.Is(err, errHidden):
		e.unreadable = append(e.unreadable, t)
	case errors.Is(err, errTooMany):
		e.add(finding.Warn, "unmatched-evidence", t.object(), fmt.Sprintf("the table has %v, so it is taken for no record of migrations", err), "")
	case err != nil:
		return fmt.Errorf("read %s: %w", t.relation, err)
	case t.rows == 0:
	case t.program:
		e.programs = append(e.programs, t)
	case len(tied) > 1:
		e.confuse(t, tied)
	case t.group == "":
		e.unmatched = append(e.unmatched, t)
	default:
		e.matched = append(e.matched, t)
	}
	return nil
}

// confuse notes that a table may be about several folders.
func (e *evidence) confuse(t table, groups []string) {
	e.ambiguous = append(e.ambiguous, t)
	e.add(finding.Refuse, "ambiguous-evidence", t.object(), fmt.Sprintf("what %s wrote into it may be about %s", t.name, orList(groups)),
		"name only the folder whose files it applied")
}

// match reads a table and finds the files that it is about. Where several folders have as many of them, it says which.
func (e *evidence) match(ctx context.Context, tx pgx.Tx, t *table) (tied []string, err error) {
	if t.program {
		counts, err := query[struct{ N int }](ctx, tx, "SELECT count(*) FROM "+t.sql())
		if err == nil {
			t.rows = counts[0].N
		}
		return nil, err
	}
	var list []record
	if t.records != nil {
		list, err = query[record](ctx, tx, t.records(t.relation))
	} else {
		list, err = e.readPlain(ctx, tx, t)
	}
	list = slices.DeleteFunc(list, func(r record) bool { return r.State == ignored })
	if t.rows = max(t.rows, len(list)); err != nil || len(list) == 0 {
		return nil, err
	}
	best := 0
	for _, g := range e.groups() {
		matches := 0
		for _, r := range list {
			if e.find(g, r, t.byContent) != nil {
				matches++
			}
		}
		switch {
		case matches > best:
			best, tied = matches, []string{g}
		case matches == best && best > 0:
			tied = append(tied, g)
		}
	}
	if len(tied) > 1 && !slices.ContainsFunc(list, func(r record) bool {
		return e.find(tied[0], r, t.byContent) != nil && e.find(tied[1], r, t.byContent) != nil
	}) {
		tied = tied[:1] // one runner for both
	}
	if len(tied) == 1 {
		t.group = tied[0]
		e.claim(t, list)
	}
	return tied, nil
}

// meant is the file that a line is about: of the table's folder, or else the one in another folder that has its name or its
// content. A number says nothing of another folder.
func (e *evidence) meant(t *table, r record) *file {
	if f := e.find(t.group, r, t.byContent); f != nil {
		return f
	}
	r.Version = nil
	for _, g := range e.groups() {
		if f := e.find(g, r, t.byContent); f != nil {
			return f
		}
	}
	return nil
}

// claim says what each line proves.
func (e *evidence) claim(t *table, list []record) {
	t.claims = map[*file]claim{}
	if t.sum == nil {
		t.sum = understood(list, func(r record) *file { return e.meant(t, r) })
	}
	others := 0
	for i, r := range list {
		c := claim{runner: t.name, table: t.String(), at: r.At, made: r.Made, order: i}
		if r.Hash != nil {
			c.stored = *r.Hash
		}
		f := e.meant(t, r)
		switch r.State {
		case repeatable:
			others++
			continue
		case cumulative, dirty:
			e.claimUpTo(t, r.number(), c)
		}
		switch {
		case r.State == undone:
			delete(t.claims, f)
		case r.State == cumulative && f == nil && t.name != golangMigrate: // a baseline below the first file
		case r.State == program || f == nil:
			a := absence{runner: t.name, table: t.String(), group: t.group, number: r.number(), stored: c.stored, at: r.At, program: r.State == program}
			if r.Name != nil {
				a.written, a.program = *r.Name, a.program || isProgram(*r.Name)
				if a.number == nil {
					a.number = numberOf(*r.Name)
				}
			}
			t.absences = append(t.absences, a)
		default:
			c.failed = r.State == failed || r.State == dirty
			c.like = compare(t.sum, f.body, c.stored)
			t.claims[f] = c
		}
	}
	if others > 0 {
		e.add(finding.Warn, "repeatable", t.object(), fmt.Sprintf("%d of %s's migrations are repeatable ones, which are not taken over", others, t.name),
			"write what they make into migrations of their own, whenever it changes")
	}
}

// claimUpTo claims everything of a folder that a runner must have applied before it came to a version.
func (e *evidence) claimUpTo(t *table, version *int64, c claim) {
	for _, f := range e.in(t.group) {
		if _, known := t.claims[f]; !known && version != nil && f.number != nil && *f.number <= *version {
			t.claims[f] = c
		}
	}
}

// weigh drops what another application's tables say, and gives every file the claims about it.
func (e *evidence) weigh() {
	var kept []table
	for _, t := range e.matched {
		other := slices.IndexFunc(kept, func(u table) bool { return contradict(t, u) })
		switch {
		case other < 0:
			kept = append(kept, t)
		case e.distance(kept[other].relation) < e.distance(t.relation):
			e.add(finding.Note, "another-table", t.object(), fmt.Sprintf("it says something else of the same files than %s, which is nearer: it is taken for another application's", kept[other].relation), "")
		default:
			e.add(finding.Refuse, "ambiguous-evidence", t.object(), fmt.Sprintf("it says something else of the same files than %s", kept[other].relation),
				"set search_path in the URL to the schema of this application")
		}
	}
	e.matched = kept
	for _, t := range kept {
		e.absences = append(e.absences, t.absences...)
		for f, c := range t.claims {
			f.claims = append(f.claims, c)
		}
	}
	for _, f := range e.files {
		slices.SortStableFunc(f.claims, func(a, b claim) int { return cmp.Compare(a.table, b.table) })
	}
}

// contradict says whether two tables of one runner are about one folder and say different things. One that goes on where
// the other ends is what is left when an application changes the table.
func contradict(a, b table) bool {
	if a.name != b.name || a.group != b.group || a.Name != b.Name && a.name != golangMigrate {
		return false
	}
	common := 0
	for f := range a.claims {
		if _, both := b.claims[f]; both {
			common++
		}
	}
	return common > 0 && (common < len(a.claims) || common < len(b.claims))
}

func (t table) object() string { return "table " + t.String() }

// add notes what is wrong with the evidence itself.
func (e *evidence) add(level finding.Level, name, object, message, fix string) {
	e.findings = append(e.findings, finding.Finding{Name: name, Level: level, Basis: finding.Catalog, Object: object, Message: message, Fix: fix})
}
