package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/compat"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// Limits of the page. The JSON has everything.
const (
	pageSQL      = 180  // characters of a statement that are in sight
	pageWhole    = 8000 // … and behind that
	pageInSight  = 12   // findings of a level, at first
	pageFindings = 100  // of a level
	pageRows     = 200  // of a list of differences, changes or statements
	moreInJSON   = "… and %d more in the JSON report"
)

// htmlRehearsal is a rehearsal of migrations as the page shows it.
type htmlRehearsal struct {
	Class, Word, Essence      string
	Schema, On                string
	Refusals, Warnings, Notes htmlFindings
	Migrations                []htmlMigration
	Aspects                   []htmlAspect
	Unchecked                 []unchecked
	UncheckedMore             string
}

// htmlFindings are the findings of one level.
type htmlFindings struct {
	Total int
	List  []htmlFinding
	Rest  []htmlFinding // out of sight at first
	More  string
}

type htmlFinding struct {
	finding.Finding
	Paste string // what to do, where it is to be pasted
	Do    string // … where it is not
}

// htmlMigration is a migration with its statements.
type htmlMigration struct {
	Title, File, Expected string
	DurationMS            float64
	WALBytes              int64
	Statements            []htmlStatement
	Reads, Writes         waitBar
	Longest               string // whose waits those of the whole are
}

type htmlStatement struct {
	rehearsal.Statement
	Short, Whole  string // Whole is empty where Short is all of it
	Mode          string // of the lock
	Blocks        string
	Locked        []string // relations
	Scanned       []string
	Reads, Writes waitBar
	Reasons       []finding.Finding
}

// htmlAspect is an aspect with what there is to look at.
type htmlAspect struct {
	aspect
	Sign, Class string
	Backup      *backup.Backup
	Down        []string // what was taken back, by what
	Ways        []proposedWay
	Differences []htmlDifference
	Changes     []htmlChange
	Broken      []compat.Broken
	Regressions []htmlRegression
	More        string
}

type proposedWay struct{ File, SQL string }

type htmlDifference struct {
	Where string
	catalog.Difference
	Changed bool // both of its definitions are there
}

type htmlChange struct {
	Text       string
	Where      string
	Undeclared bool
}

type htmlRegression struct {
	plans.Regression
	Sign, Class, Numbers string
}

func newHTMLRehearsal(r *rehearsal.Report) *htmlRehearsal {
	v := rehearsed(r)
	h := &htmlRehearsal{
		Class: string(v), Word: v.word(), Essence: essence(r), On: copied(r),
		Refusals: htmlFindingsOf(r, finding.Refuse), Warnings: htmlFindingsOf(r, finding.Warn), Notes: htmlFindingsOf(r, finding.Note),
	}
	reads, writes := newWaitAxes(r)
	for _, m := range r.Migrations {
		h.Migrations = append(h.Migrations, newHTMLMigration(r, m, reads, writes))
	}
	h.Aspects = htmlAspects(r)
	h.Unchecked = notChecked(r)
	if more := len(h.Unchecked) - pageRows; more > 1 {
		h.Unchecked, h.UncheckedMore = h.Unchecked[:pageRows], fmt.Sprintf(moreInJSON, more)
	}
	return h
}

// stateClass is the class of a verdict on a part of a rehearsal.
func stateClass(w rehearsal.Word) string {
	switch w {
	case rehearsal.Pass, rehearsal.Warn, rehearsal.Refuse:
		return "is-" + string(w)
	default:
		return "is-unknown"
	}
}

// levelClass is the class of a finding.
func levelClass(l finding.Level) string {
	switch l {
	case finding.Refuse, finding.Warn:
		return "is-" + string(l)
	default:
		return "is-note"
	}
}

func htmlFindingsOf(r *rehearsal.Report, level finding.Level) htmlFindings {
	all := ofLevel(r, level)
	h := htmlFindings{Total: len(all)}
	for i, f := range all {
		if i == pageFindings && len(all) > pageFindings+1 {
			h.More = fmt.Sprintf(moreInJSON, len(all)-pageFindings)
			break
		}
		one := htmlFinding{Finding: f}
		if pasted(f.Fix) {
			one.Paste = strings.Join(fixLines(f.Fix), "\n")
		} else {
			one.Do = line(f.Fix)
		}
		if i < pageInSight || len(all) <= pageInSight+1 {
			h.List = append(h.List, one)
		} else {
			h.Rest = append(h.Rest, one)
		}
	}
	return h
}

func newHTMLMigration(r *rehearsal.Report, m rehearsal.Migration, reads, writes waitAxis) htmlMigration {
	h := htmlMigration{
		Title: rehearsedTitle(m), File: line(m.File), Expected: expected(m), DurationMS: m.DurationMS, WALBytes: m.WALBytes,
		Reads:  reads.bar(m.BlockedReadsMS, m.Predicted.BlockedReadsMS),
		Writes: writes.bar(m.BlockedWritesMS, m.Predicted.BlockedWritesMS),
	}
	if m.ReadersOf != "" {
		h.Longest = "readers" + of(m.ReadersOf)
	}
	if m.WritersOf != "" {
		h.Longest = joinNonEmpty(", ", h.Longest, "writers"+of(m.WritersOf))
	}
	for _, s := range statementsOf(r, m) {
		one := htmlStatement{
			Statement: s, Mode: lockText(r, s), Scanned: scannedRows(s), Reasons: reasonsOf(r, s),
			Reads:  reads.bar(s.BlockedReadsMS, s.Predicted.BlockedReadsMS),
			Writes: writes.bar(s.BlockedWritesMS, s.Predicted.BlockedWritesMS),
		}
		if s.Lock != "" {
			one.Blocks = lockBlocks(s.Lock)
			for _, l := range s.Locks {
				if l.Mode == s.Lock {
					one.Locked = append(one.Locked, line(l.Relation))
				}
			}
		}
		one.Short, one.Whole = shortened(s.SQL)
		h.Statements = append(h.Statements, one)
	}
	return h
}

// shortened is a statement as far as a row of a table has room, and all of it where that is more.
func shortened(sql string) (short, whole string) {
	short = line(sql)
	if utf8.RuneCountInString(short) <= pageSQL {
		return short, ""
	}
	whole = strings.Trim(plain(sql), "\n")
	if n := utf8.RuneCountInString(whole); n > pageWhole {
		whole = clip(whole, pageWhole) + fmt.Sprintf("\n-- %s more characters in the file", count(n-pageWhole))
	}
	return clip(short, pageSQL), whole
}

func scannedRows(s rehearsal.Statement) []string {
	var list []string
	for _, scan := range s.Scans {
		text := line(scan.Table)
		if scan.Rows > 0 {
			text += ", " + plural(scan.Rows, "row")
		}
		list = append(list, text)
	}
	return list
}

func htmlAspects(r *rehearsal.Report) []htmlAspect {
	a := newAspects(r)
	var list []htmlAspect
	add := func(one aspect, fill func(*htmlAspect)) {
		if one.Name == "" {
			return
		}
		h := htmlAspect{aspect: one, Sign: paint(false).word(one.State), Class: stateClass(one.State)}
		if fill != nil {
			fill(&h)
		}
		list = append(list, h)
	}
	add(a.Budget, nil)
	add(a.Backup, func(h *htmlAspect) { h.Backup = r.Backup })
	add(a.RoundTrip, func(h *htmlAspect) { h.roundTrip(r) })
	add(a.Data, func(h *htmlAspect) {
		for _, c := range r.Data {
			h.Changes = append(h.Changes, htmlChange{Text: c.String(), Undeclared: isUndeclared(r, c)})
		}
	})
	add(a.Running, func(h *htmlAspect) {
		if r.Compat != nil {
			h.Broken = r.Compat.Broken
		}
	})
	add(a.Plans, func(h *htmlAspect) { h.plans(r.Plans) })
	add(a.Drift, func(h *htmlAspect) {
		if r.Drift != nil {
			h.differ("since the last migration", r.Drift.Recorded)
			h.differ("unlike what the folder makes", r.Drift.Built)
		}
	})
	for i := range list {
		list[i].bound()
	}
	return list
}

func (h *htmlAspect) roundTrip(r *rehearsal.Report) {
	trip := r.RoundTrip
	for _, way := range trip.Down {
		by := line(way.By)
		if by == "proposed" {
			by = "a proposed way"
		}
		h.Down = append(h.Down, titleOf(way.Version, way.Name)+" by "+by)
	}
	ways := provenWays(r)
	for _, file := range sortedKeys(ways) {
		h.Ways = append(h.Ways, proposedWay{line(file), strings.Join(fixLines(ways[file]), "\n")})
	}
	h.differ("after the way back", trip.Before)
	h.differ("after the second way up", trip.Again)
	for _, c := range trip.Data {
		h.Changes = append(h.Changes, htmlChange{Text: c.String(), Where: "after the way back", Undeclared: true})
	}
	for _, number := range sortedKeys(trip.Irreversible) {
		h.Changes = append(h.Changes, htmlChange{Text: fmt.Sprintf("%d: %s", number, trip.Irreversible[number]), Where: "declared irreversible"})
	}
}

func (h *htmlAspect) differ(where string, list []catalog.Difference) {
	for _, d := range list {
		h.Differences = append(h.Differences, htmlDifference{where, d, d.Kind == catalog.Changed})
	}
}

func (h *htmlAspect) plans(p *plans.Report) {
	if p == nil {
		return
	}
	for _, g := range p.Regressions {
		one := htmlRegression{Regression: g, Sign: paint(false).level(g.Finding.Level), Class: levelClass(g.Finding.Level), Numbers: regressed(g)}
		one.Before, one.After = planText(g.Before), planText(g.After)
		h.Regressions = append(h.Regressions, one)
	}
}

// planText is a plan as it is indented.
func planText(plan string) string { return clip(strings.Trim(plain(plan), "\n"), pageWhole) }

// bound keeps the lists of an aspect to what a page can hold.
func (h *htmlAspect) bound() {
	more := 0
	cut := func(n int) int {
		if n > pageRows {
			more += n - pageRows
			return pageRows
		}
		return n
	}
	h.Differences, h.Changes = h.Differences[:cut(len(h.Differences))], h.Changes[:cut(len(h.Changes))]
	h.Broken, h.Regressions = h.Broken[:cut(len(h.Broken))], h.Regressions[:cut(len(h.Regressions))]
	if more > 0 {
		h.More = fmt.Sprintf(moreInJSON, more)
	}
}
