package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// Limits of what a terminal shows of a rehearsal. The JSON has everything.
const (
	screenStatements = 20 // of a migration
	screenRefusals   = 12
	screenWarnings   = 8
	screenNotes      = 5
	aspectLines      = 4 // of running text
	aspectDetails    = 5 // lines below it
	reasonOnScreen   = 2 // lines of a reason below its statement
	screenPlans      = 3 // regressions with both plans
	planLines        = 8
	wayLines         = 20 // of a proposed way back
	briefMigrations  = 6  // on the screen of a whole run
	briefStatements  = 3
	briefReasons     = 4
	aspectName       = 17 // columns
)

// WriteMigrations writes a rehearsal of migrations for a terminal: the verdict, what refuses them and what to do about it, a
// table of the statements of each, what else was looked at, warnings and notes. It fits in the given columns, except for what
// is to be pasted.
func WriteMigrations(w io.Writer, r *rehearsal.Report, columns int, colour bool) error {
	s := rehearsalScreen{&screen{columns: min(max(columns, 40), widest), paint: paint(colour)}, r}
	s.verdict()
	s.findings(finding.Refuse, "", screenRefusals)
	s.migrations()
	s.aspects()
	s.plans()
	s.ways()
	s.findings(finding.Warn, "Warnings", screenWarnings)
	s.notes()
	s.end()
	_, err := w.Write(s.Bytes())
	return err
}

// rehearsalScreen writes a rehearsal.
type rehearsalScreen struct {
	*screen
	r *rehearsal.Report
}

func (s rehearsalScreen) verdict() {
	v := rehearsed(s.r)
	s.line(fit(joinNonEmpty("  ", s.badge(v), s.bold(essence(s.r)), s.dim(seconds(s.r.Elapsed.Seconds()))), s.columns))
	s.lines(wrapped(measuredOn(s.r), s.columns, 2), s.dim)
}

// findings are those of one level, in full: what is wrong where, and what to do.
func (s rehearsalScreen) findings(level finding.Level, title string, most int) {
	list := ofLevel(s.r, level)
	if len(list) > 0 && title != "" {
		s.heading(title, count(len(list)))
	}
	for i, f := range list {
		if i == most && len(list) > most+1 {
			s.line()
			s.line(s.dim(fmt.Sprintf("… and %d more in the report", len(list)-most)))
			return
		}
		if i > 0 || title == "" {
			s.line()
		}
		s.finding(f)
	}
}

func (s rehearsalScreen) finding(f finding.Finding) {
	about := joinNonEmpty("  ", s.bold(line(f.Name)), s.cyan(line(f.Place())), s.dim(line(string(f.Basis))))
	s.line(fit(s.level(f.Level)+" "+about, s.columns))
	for _, l := range wrap(line(f.Message), s.columns-2) {
		s.line("  ", l)
	}
	s.fix(f.Fix)
}

// fix is what to do. What is to be pasted is never cut.
func (s rehearsalScreen) fix(text string) {
	switch {
	case strings.TrimSpace(text) == "":
	case pasted(text):
		for _, l := range fixLines(text) {
			s.line("    ", s.cyan(l))
		}
	default:
		for i, l := range wrap(line(text), s.columns-4) {
			start := s.dim("→ ")
			if i > 0 {
				start = "  "
			}
			s.line("  ", start, l)
		}
	}
}

// migrations are the tables of statements, all of the same widths.
func (s rehearsalScreen) migrations() {
	shown := map[int64][]rehearsal.Statement{}
	var all []rehearsal.Statement
	for _, m := range s.r.Migrations {
		shown[m.Version] = notable(statementsOf(s.r, m), screenStatements)
		all = append(all, shown[m.Version]...)
	}
	g := newGrid(s.r, all, s.columns, s.paint)
	for i, m := range s.r.Migrations {
		statements := statementsOf(s.r, m)
		s.heading(rehearsedTitle(m), joinNonEmpty(" · ", line(m.File), plural(len(statements), "statement"), "waits in ms"))
		if i == 0 || len(statements) > 0 {
			s.lines(g.head(), s.dim)
		}
		for _, st := range shown[m.Version] {
			for _, l := range g.row(st) {
				s.line(l)
			}
			s.reasons(st, strings.Repeat(" ", gridIndent+gridNumber+gridGap))
		}
		if more := len(statements) - len(shown[m.Version]); more > 0 {
			s.line(s.dim(fit(fmt.Sprintf("       … and %d more in the report, none of them worse", more), s.columns)))
		}
		s.paragraph("  "+s.dim("measured  "), measured(m), aspectLines)
		s.paragraph("  "+s.dim("expected  "), expected(m), aspectLines)
	}
}

func (s rehearsalScreen) lines(lines []string, colour func(string) string) {
	for _, l := range lines {
		s.line(colour(strings.TrimRight(l, " ")))
	}
}

// reasons are why a statement does not pass: what the findings above and below say in full.
func (s rehearsalScreen) reasons(st rehearsal.Statement, indent string) {
	for _, f := range reasonsOf(s.r, st) {
		s.paragraph(indent+s.level(f.Level)+" ", joinNonEmpty(": ", f.Name, f.Message), reasonOnScreen)
	}
}

// aspects are what else was looked at, with the first details of each.
func (s rehearsalScreen) aspects() {
	list := newAspects(s.r).list()
	if len(list) == 0 {
		return
	}
	s.line()
	for _, a := range list {
		s.aspect(a)
		if a.Name == "Plans" {
			continue // their details are two plans each
		}
		indent := strings.Repeat(" ", aspectName+gridIndent+2)
		for i, l := range a.Lines {
			if i == aspectDetails && len(a.Lines) > aspectDetails+1 {
				s.line(s.dim(fit(fmt.Sprintf("%s… and %d more in the report", indent, len(a.Lines)-aspectDetails), s.columns)))
				break
			}
			s.paragraph(indent+"- ", l, reasonOnScreen)
		}
	}
}

func (s rehearsalScreen) aspect(a aspect) {
	first := "  " + s.word(a.State) + " " + pad(a.Name, aspectName)
	for i, l := range wrap(s.outcome(a), s.columns-width(first)) {
		if i > 0 {
			first = strings.Repeat(" ", width(first))
		}
		s.line(first, l)
	}
}

func (s rehearsalScreen) outcome(a aspect) string {
	return joinNonEmpty(": ", s.worded(a.State, line(a.Word)), line(a.Text))
}

// plans are the statements whose plans got worse, with both plans.
func (s rehearsalScreen) plans() {
	if s.r.Plans == nil || len(s.r.Plans.Regressions) == 0 {
		return
	}
	list := s.r.Plans.Regressions
	s.heading("Worse plans", count(len(list)))
	for i, g := range list {
		if i == screenPlans && len(list) > screenPlans+1 {
			s.line(s.dim(fmt.Sprintf("  … and %d more in the report", len(list)-screenPlans)))
			return
		}
		s.regression(g)
	}
}

func (s rehearsalScreen) regression(g plans.Regression) {
	s.paragraph("  "+s.level(g.Finding.Level)+" ", regressed(g), reasonOnScreen)
	s.paragraph("    ", g.SQL, reasonOnScreen)
	for _, plan := range []struct{ name, text string }{{"before  ", g.Before}, {"after   ", g.After}} {
		name := plan.name
		for _, l := range clipLines(plain(plan.text), planLines) {
			s.line("      ", s.dim(name), fit(strings.ReplaceAll(l, "\t", "  "), s.columns-6-len(name)))
			name = strings.Repeat(" ", len(name))
		}
	}
}

// ways are the ways back that were made up and lead back, to be pasted into files.
func (s rehearsalScreen) ways() {
	ways := provenWays(s.r)
	if len(ways) == 0 {
		return
	}
	s.heading("Ways back to paste", "made of the statements, and tried on the copy")
	for _, name := range sortedKeys(ways) {
		s.line("  ", s.cyan(fit(line(name), s.columns-2)))
		for _, l := range clipLines(strings.Join(fixLines(ways[name]), "\n"), wayLines) {
			s.line("    ", l)
		}
	}
}

// notes are the findings that only tell, in brief.
func (s rehearsalScreen) notes() {
	list := ofLevel(s.r, finding.Note)
	if len(list) == 0 {
		return
	}
	s.heading("Notes", "")
	for i, f := range list {
		if i == screenNotes && len(list) > screenNotes+1 {
			s.line(s.dim(fmt.Sprintf("  … and %d more in the report", len(list)-screenNotes)))
			return
		}
		s.paragraph("  - ", noteText(f), reasonOnScreen)
	}
}

// noteText is a note on one line, with the reason by which it is one where the migration allows it.
func noteText(f finding.Finding) string {
	text := joinNonEmpty(": ", line(f.Place()), line(f.Message)) + " (" + line(f.Name) + ")"
	if f.Allowed != "" {
		text = "allowed, " + line(f.Allowed) + ": " + text
	}
	return text
}

func (s rehearsalScreen) end() {
	s.line()
	why := essence(s.r)
	if len(s.r.Reasons) > 0 {
		why = s.r.Reasons[0]
	}
	s.line(fit(s.badge(rehearsed(s.r))+"  "+line(why), s.columns))
}

// brief is a rehearsal within the screen of a whole run: the worst statements, and how all else ended.
func (s rehearsalScreen) brief() {
	state := rehearsal.Warn
	switch rehearsed(s.r) {
	case Proven:
		state = rehearsal.Pass
	case Refused:
		state = rehearsal.Refuse
	}
	s.line("  ", fit(s.word(state)+" "+s.worded(state, essence(s.r)), s.columns-2))
	for i, m := range s.r.Migrations {
		if i == briefMigrations && len(s.r.Migrations) > briefMigrations+1 {
			s.line(s.dim("  … and " + plural(len(s.r.Migrations)-briefMigrations, "migration") + " more in the report"))
			break
		}
		s.line("  ", fit(s.bold(rehearsedTitle(m))+"  "+inBrief(s.r, m), s.columns-2))
		for _, st := range notable(statementsOf(s.r, m), briefStatements) {
			s.briefStatement(st)
		}
	}
	told := 0
	for _, f := range ofLevel(s.r, finding.Refuse) {
		if f.Statement > 0 {
			continue // told with its statement
		}
		if told++; told <= briefReasons {
			s.line("  ", fit(s.level(f.Level)+" "+joinNonEmpty(": ", line(f.Name), line(f.Message)), s.columns-2))
		}
	}
	if told > briefReasons {
		s.line(s.dim(fmt.Sprintf("  … and %d more in the report", told-briefReasons)))
	}
	for _, a := range newAspects(s.r).list() {
		s.line("  ", fit(s.word(a.State)+" "+pad(a.Name, aspectName)+s.outcome(a), s.columns-2))
	}
}

// briefStatement is one that does not pass, and why.
func (s rehearsalScreen) briefStatement(st rehearsal.Statement) {
	if gravity(st.Verdict) == gravity(rehearsal.Pass) {
		return
	}
	s.line("    ", fit(s.word(st.Verdict)+" "+line(st.SQL), s.columns-4))
	s.line("      ", s.dim(fit(did(s.r, st), s.columns-6)))
	for _, f := range reasonsOf(s.r, st) {
		s.paragraph("      ", joinNonEmpty(": ", f.Name, f.Message), reasonOnScreen)
	}
}

// inBrief is what a migration did to the copy, in numbers.
func inBrief(r *rehearsal.Report, m rehearsal.Migration) string {
	return fmt.Sprintf("%s, %s, blocked reads %s, writes %s, WAL %s", plural(len(statementsOf(r, m)), "statement"), seconds(m.DurationMS/1000),
		millis(m.BlockedReadsMS), millis(m.BlockedWritesMS), size(m.WALBytes))
}

// did is what a statement did, on one line.
func did(r *rehearsal.Report, s rehearsal.Statement) string {
	parts := []string{"blocked reads " + millis(s.BlockedReadsMS) + ", writes " + millis(s.BlockedWritesMS), lockText(r, s)}
	if s.Rewrite {
		parts = append(parts, "rewrites "+line(strings.Join(s.Rewrites, ", ")))
	}
	if s.Scan {
		parts = append(parts, "reads all of "+line(strings.Join(scanned(s), ", ")))
	}
	return strings.Join(parts, ", ")
}

// scanned are the tables that a statement read as a whole.
func scanned(s rehearsal.Statement) []string {
	var names []string
	for _, scan := range s.Scans {
		names = append(names, scan.Table)
	}
	return names
}
