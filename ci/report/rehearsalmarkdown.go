package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// Limits of a rehearsal in Markdown. A job summary is read at a glance: the HTML and the JSON have everything.
const (
	markdownStatements = 12 // of a migration
	markdownMigrations = 10
	markdownRefusals   = 12
	markdownWarnings   = 8
	markdownSQL        = 72 // characters of a statement in a cell
	markdownAspect     = 300
	markdownFix        = 4000 // bytes
)

// rehearsal adds a rehearsal of migrations: each part whole or not at all.
func (m *markdown) rehearsal(r *rehearsal.Report) {
	icon := map[Verdict]string{Proven: "✅", Refused: "❌"}[rehearsed(r)]
	m.add(fmt.Sprintf("**%s %s** %s\n\n%s\n\n", cmp.Or(icon, "⚠️"), rehearsed(r).word(), prose(essence(r)), prose(copied(r))))
	m.findings(r, finding.Refuse, "refusal", markdownRefusals)
	for i, one := range r.Migrations {
		if i == markdownMigrations && len(r.Migrations) > markdownMigrations+1 {
			m.add("_… and " + plural(len(r.Migrations)-markdownMigrations, "migration") + " more in the report_\n\n")
			break
		}
		m.add(statementTable(r, one))
	}
	if list := newAspects(r).list(); len(list) > 0 {
		var b strings.Builder
		b.WriteString("| | Looked at | |\n|---|---|---|\n")
		for _, a := range list {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", paint(false).word(a.State), a.Name, prose(clip(joinNonEmpty(": ", line(a.Word), line(a.Text)), markdownAspect)))
		}
		b.WriteString("\n")
		m.add(b.String())
	}
	m.findings(r, finding.Warn, "warning", markdownWarnings)
	if n := len(ofLevel(r, finding.Note)); n > 0 {
		m.add("_" + plural(n, "note") + " in the report_\n\n")
	}
}

// statementTable is what the statements of a migration did.
func statementTable(r *rehearsal.Report, m rehearsal.Migration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#### %s\n\n", prose(rehearsedTitle(m)))
	b.WriteString("| # | Statement | Lock | Rewrite | Scan | WAL | Readers | Writers | |\n|---:|---|---|---|---|---:|---:|---:|---|\n")
	all := statementsOf(r, m)
	shown := notable(all, markdownStatements)
	for _, s := range shown {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s | %s | %s %s |\n", s.Number, code(clip(line(s.SQL), markdownSQL)), prose(lockOf(r, s)), yes(s.Rewrite),
			yes(s.Scan), size(s.WALBytes), millis(s.BlockedReadsMS), millis(s.BlockedWritesMS), paint(false).word(s.Verdict), prose(string(s.Verdict)))
	}
	b.WriteString("\n")
	if more := len(all) - len(shown); more > 0 {
		fmt.Fprintf(&b, "_… and %d more in the report, none of them worse_\n\n", more)
	}
	fmt.Fprintf(&b, "Measured: %s. Expected on the original: %s.\n\n", prose(measured(m)), prose(expected(m)))
	return b.String()
}

// findings are those of one level, with what to do.
func (m *markdown) findings(r *rehearsal.Report, level finding.Level, noun string, most int) {
	list := ofLevel(r, level)
	for i, f := range list {
		if i == most && len(list) > most+1 {
			m.add("_… and " + plural(len(list)-most, noun) + " more in the report_\n\n")
			return
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s **%s** %s  \n%s\n\n", paint(false).level(f.Level), prose(f.Name), code(f.Place()), prose(f.Message))
		switch {
		case strings.TrimSpace(f.Fix) == "":
		case pasted(f.Fix):
			b.WriteString(fence("sql", clipBytes(strings.Join(fixLines(f.Fix), "\n"), markdownFix)))
		default:
			fmt.Fprintf(&b, "→ %s\n\n", prose(f.Fix))
		}
		m.add(b.String())
	}
}
