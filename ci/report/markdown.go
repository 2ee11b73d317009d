package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxComment is the size of a comment on GitHub; a report within it fits everywhere Markdown goes.
const maxComment = 65_536

// WriteMarkdown writes a report for job summaries and comments, at most 64 KiB: what does not fit is left out from the
// end, and that is said.
func WriteMarkdown(w io.Writer, r *Report) error { return writeMarkdown(w, r, maxComment) }

func writeMarkdown(w io.Writer, r *Report, limit int) error {
	const cut = "\n_The rest was cut: it does not fit here._\n"
	m := markdown{limit: limit - len(cut)}
	m.verdict(r)
	m.failures(r)
	m.stages(r)
	m.evidence(r)
	m.notes(r)
	if m.full {
		m.b.WriteString(cut)
	}
	if m.b.Len() > limit { // not even the first section fits
		m.b.Reset()
	}
	_, err := w.Write(m.b.Bytes())
	return err
}

// markdown collects sections while they fit.
type markdown struct {
	b     bytes.Buffer
	limit int
	full  bool
}

// add takes a whole section or nothing: half a table or an open fence would spoil what follows.
func (m *markdown) add(section string) {
	if m.full || m.b.Len()+len(section) > m.limit {
		m.full = true
		return
	}
	m.b.WriteString(section)
}

func (m *markdown) verdict(r *Report) {
	var b strings.Builder
	icon := map[Verdict]string{Proven: "✅", Refused: "❌"}[r.Verdict]
	fmt.Fprintf(&b, "## %s %s\n\n", cmp.Or(icon, "⚠️"), prose(r.Headline()))
	if from := joinNonEmpty(" · ", r.from(), seconds(r.Seconds)); from != "" {
		fmt.Fprintf(&b, "%s\n\n", prose(from))
	}
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "- %s\n", prose(reason))
	}
	if len(r.Reasons) > 0 {
		b.WriteString("\n")
	}
	m.add(b.String())
}

func (m *markdown) failures(r *Report) {
	const inline = 5 // open; the others are folded
	if len(r.Failures) == 0 {
		return
	}
	m.add("### Failures\n\n")
	for i, f := range r.Failures {
		var b strings.Builder
		about := joinNonEmpty(" · ", code(f.Place()), prose(f.Step))
		if i < inline {
			fmt.Fprintf(&b, "**%s**  \n%s\n\n", prose(f.Title), about)
		} else {
			fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n%s\n\n", prose(f.Title), about)
		}
		if detail := f.detail(); detail != "" {
			b.WriteString(fence("", strings.Join(clipLines(detail, 30), "\n")))
		}
		if f.Example != "" {
			fmt.Fprintf(&b, "Counterexample %s", code(f.Example))
			if f.Shrinks > 0 {
				fmt.Fprintf(&b, ", shrunk %s", plural(f.Shrinks, "time"))
			}
			b.WriteString("\n\n")
		}
		if pin := joinNonEmpty(" · ", prose(f.seed()), code(f.Replay)); pin != "" {
			fmt.Fprintf(&b, "%s\n\n", pin)
		}
		if f.Reproduce != "" {
			b.WriteString(fence("sh", verbatim(f.Reproduce)))
		}
		if i >= inline {
			b.WriteString("</details>\n\n")
		}
		m.add(b.String())
	}
}

func (m *markdown) stages(r *Report) {
	if len(r.Stages) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString("### Stages\n\n| | Stage | Time | |\n|---|---|---:|---|\n")
	row := func(s Stage, indent string) {
		took := seconds(s.Seconds)
		if s.Cached {
			took = "cached"
		} else if s.Status == Skipped {
			took = "skipped"
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s | %s |\n", paint(false).mark(s.Status), indent, prose(s.Name), took, prose(s.Detail))
	}
	for _, stage := range r.Stages {
		row(stage, "")
		for _, step := range stage.Steps {
			row(step, "&nbsp;&nbsp;")
		}
	}
	b.WriteString("\n")
	m.add(b.String())
}

func (m *markdown) evidence(r *Report) {
	var b strings.Builder
	if t := r.Traffic; t != nil {
		fmt.Fprintf(&b, "### Traffic\n\n**%s** · %s\n\n", t.Dropped(), t.Latency())
		for _, e := range t.errors() {
			fmt.Fprintf(&b, "- %s × %s\n", count(e.Count), prose(e.What))
		}
		if len(t.Errors) > 0 {
			b.WriteString("\n")
		}
	}
	if d := r.Rollback; d != nil {
		fmt.Fprintf(&b, "### Rollback drill\n\n%s **%s** %s\n\n", paint(false).mark(d.status()), d.word(), d.Summary())
	}
	m.add(b.String())
	if r.Database == nil {
		return
	}
	b.Reset()
	d := r.Database
	fmt.Fprintf(&b, "### Database\n\n%s\n\n", d.version())
	if d.Rehearsal != nil {
		m.add(b.String())
		m.rehearsal(d.Rehearsal)
		b.Reset()
	} else if len(d.Migrations.Applied) > 0 {
		b.WriteString("| Migration | Statements | Time | Locks | Rewrites | WAL |\n|---|---:|---:|---|---|---:|\n")
		for _, a := range d.Migrations.Applied {
			var locks []string
			for _, l := range a.Locks {
				locks = append(locks, prose(lockMode(l.Mode)+" on "+l.Relation))
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", prose(migrationTitle(a)), a.Statements, seconds(a.Duration.Seconds()),
				strings.Join(locks, "<br>"), prose(cmp.Or(strings.Join(a.Rewrites, ", "), "none")), size(a.WALBytes))
		}
		b.WriteString("\n")
	}
	if own := d.ownBackup(); own != nil {
		fmt.Fprintf(&b, "**%s** %s\n\n", backupWord(own), backupSentence(own))
	}
	m.add(b.String())
}

func (m *markdown) notes(r *Report) {
	if len(r.Notes) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString("### Notes\n\n")
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "- %s\n", prose(note))
	}
	m.add(b.String())
}

// markup are the characters that mean something in Markdown or HTML.
var markup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`,
	"[", `\[`, "]", `\]`, "|", `\|`, "#", `\#`, "~", `\~`, "@", "@\u200b", "!", `\!`, "$", `\$`)

// prose is text from outside within a paragraph or a cell: it links nothing, mentions nobody and breaks no table.
func prose(s string) string { return markup.Replace(line(s)) }

// code is text from outside as a code span.
func code(s string) string {
	s = strings.ReplaceAll(line(s), "|", "¦")
	if s == "" {
		return ""
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if len(ticks) > 1 {
		return ticks + " " + s + " " + ticks
	}
	return ticks + s + ticks
}

// fence is text from outside as a code block that it cannot leave.
func fence(language, s string) string {
	ticks := strings.Repeat("`", max(longestRun(s, '`')+1, 3))
	return ticks + language + "\n" + plain(s) + "\n" + ticks + "\n\n"
}

// longestRun is the length of the longest run of one character.
func longestRun(s string, c rune) (longest int) {
	run := 0
	for _, r := range s {
		if run++; r != c {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
