package database

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/adopt"
	"github.com/metaextract/pipeline/migrations/backfill"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/history"
)

// table lines up the cells of lines, which tabs separate. A cell that is empty leaves no spaces at the end of its line.
func table(out io.Writer, write func(io.Writer)) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 4, 2, ' ', 0)
	write(w)
	_ = w.Flush() // to memory
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
}

// WritePlan shows what Up would do.
func WritePlan(out io.Writer, p *Plan) {
	fmt.Fprintf(out, "the database is at %s\n", versionName(p.Version))
	switch {
	case len(p.Pending) > 0:
	case len(p.Others) > 0:
		fmt.Fprintln(out, "nothing is pending")
	default:
		fmt.Fprintln(out, "nothing to do: it has every migration")
	}
	for _, m := range p.Pending {
		fmt.Fprintf(out, "\n%d  %s  (%s%s)\n", m.Version, m.Name, m.Class, wayBack(m))
		table(out, func(w io.Writer) {
			for i, s := range m.Statements {
				fmt.Fprintf(w, "  %d\t%s\t%s\t%s\n", i+1, s.Class, strings.TrimSuffix(s.Lock, "Lock"), oneLine(s.SQL, 70))
			}
		})
	}
	writeFound(out, p.Findings)
	for _, item := range p.Others {
		fmt.Fprintf(out, "\n%d  %s  %s: %s\n", item.Version, item.Name, item.State, item.Message)
	}
}

func wayBack(m Planned) string {
	switch {
	case m.Declared.Irreversible != "":
		return ", irreversible: " + m.Declared.Irreversible
	case m.Down == "":
		return ", no down file"
	}
	return ""
}

// writeFound shows findings with their recipes.
func writeFound(out io.Writer, findings []finding.Finding) {
	for _, f := range findings {
		fmt.Fprintf(out, "\n%s: %s\n", f.Level, f)
		if f.Allowed != "" {
			fmt.Fprintf(out, "    allowed: %s\n", f.Allowed)
			continue
		}
		for _, line := range strings.Split(f.Fix, "\n") {
			if line != "" {
				fmt.Fprintf(out, "    %s\n", line)
			}
		}
	}
}

// WriteMigrated shows what a run did.
func WriteMigrated(out io.Writer, done Migrated) {
	if done.Backup != nil && done.Backup.ID != "" {
		WriteBackup(out, *done.Backup)
	}
	if r := done.Rehearsal; r != nil {
		fmt.Fprintf(out, "rehearsal: %s in %s\n", r.Verdict, r.Elapsed.Round(10*time.Millisecond))
		writeFound(out, worthTelling(r.Findings))
	}
	table(out, func(w io.Writer) {
		for _, a := range done.Outcome.Applied {
			word := "applied"
			if a.Direction == history.Down {
				word = "taken back"
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", a.Version, a.Name, word, finding.Count(a.Statements, "statement"), a.Duration.Round(time.Millisecond), attempts(a.Attempts))
		}
	})
	switch {
	case done.Outcome.Run == "":
	case len(done.Outcome.Applied) == 0:
		fmt.Fprintf(out, "nothing to do: the database is at %s\n", versionName(done.Outcome.To))
	default:
		fmt.Fprintf(out, "the database is at %s, was at %s\n", versionName(done.Outcome.To), versionName(done.Outcome.From))
	}
}

// worthTelling leaves out notes.
func worthTelling(all []finding.Finding) []finding.Finding {
	var list []finding.Finding
	for _, f := range all {
		if f.Level != finding.Note {
			list = append(list, f)
		}
	}
	return list
}

func attempts(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf("%d attempts", n)
}

// WriteStatus shows how every migration stands.
func WriteStatus(out io.Writer, s *migrations.Status) {
	fmt.Fprintf(out, "the database is at %s, as %s says\n\n", versionName(s.Version), s.Table)
	table(out, func(w io.Writer) {
		for _, item := range s.Items {
			when := ""
			if item.Entry != nil {
				when = item.Entry.StartedAt.UTC().Format("2006-01-02 15:04") + "  " + item.Entry.Actor
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", item.Version, item.Name, item.State, when)
		}
	})
	for _, item := range s.Items {
		if item.Message != "" {
			fmt.Fprintf(out, "\n%d  %s: %s\n", item.Version, item.State, item.Message)
		}
	}
	for _, d := range s.Drift {
		fmt.Fprintf(out, "\ndrift: %s\n", d)
	}
	for _, b := range s.Backfills {
		WriteBackfill(out, b)
	}
	for _, r := range s.Releases {
		if r.Floor != "" {
			fmt.Fprintf(out, "\nno release before %s works on this schema: %s\n", r.Name, r.Floor)
		}
	}
}

// WriteHistory shows what was done to the database, run by run.
func WriteHistory(out io.Writer, entries []history.Entry) {
	if len(entries) == 0 {
		fmt.Fprintln(out, "nothing is recorded")
		return
	}
	for rest := entries; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Run == rest[0].Run {
			n++
		}
		if len(rest) < len(entries) {
			fmt.Fprintln(out)
		}
		writeRun(out, rest[:n])
		rest = rest[n:]
	}
}

// writeRun shows the entries of one run: what they share on the first line.
func writeRun(out io.Writer, entries []history.Entry) {
	first := entries[0]
	fmt.Fprint(out, first.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"))
	for _, fact := range []struct{ name, value string }{{"by", first.Actor}, {"release", first.Release}, {"backup", first.BackupID}} {
		if fact.value != "" {
			fmt.Fprintf(out, ", %s %s", fact.name, fact.value)
		}
	}
	if first.RehearsalID != "" {
		fmt.Fprint(out, ", rehearsed")
	}
	fmt.Fprintln(out)
	table(out, func(w io.Writer) {
		for _, e := range entries {
			statements := finding.Count(e.Statements, "statement")
			if e.Done < e.Statements {
				statements = fmt.Sprintf("%d of %s", e.Done, statements)
			}
			fmt.Fprintf(w, "  %d\t%s\t%s\t%s\t%s\t%s\t%s WAL\t%s\t%s\n", e.Version, e.Name, e.Direction, e.Status, statements,
				time.Duration(e.DurationMS)*time.Millisecond, byteSize(e.WALBytes), strings.TrimSuffix(strongest(e.Locks), "Lock"), attempts(e.Attempts))
		}
	})
	for _, e := range entries {
		if why := cmp.Or(e.Error, e.Evidence); why != "" {
			fmt.Fprintf(out, "  %d %s: %s\n", e.Version, e.Status, why)
		}
	}
}

// strongest is the mode of the strongest of locks.
func strongest(locks []evidence.Lock) (mode string) {
	for _, l := range locks {
		if evidence.Strength(l.Mode) > evidence.Strength(mode) {
			mode = l.Mode
		}
	}
	return mode
}

// WriteBackup shows a backup and its proof.
func WriteBackup(out io.Writer, b backup.Backup) {
	what := "backup " + b.ID
	if b.File != "" {
		what = "backup " + b.File
	}
	word := "proven"
	if !b.Proven {
		word = "NOT proven"
	}
	fmt.Fprintf(out, "%s: %s, %s, %s in %s\n", what, byteSize(b.Bytes), finding.Count(len(b.Tables), "table"), word, b.Duration.Round(10*time.Millisecond))
	table(out, func(w io.Writer) {
		for _, r := range b.Proof {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", r.Name, rungWord(r), r.Duration.Round(time.Millisecond), r.Detail)
		}
	})
	for _, n := range b.Notes {
		fmt.Fprintf(out, "  note: %s\n", n)
	}
}

func rungWord(r backup.Rung) string {
	switch {
	case r.Skipped:
		return "not tried"
	case r.OK:
		return "ok"
	}
	return "FAILED"
}

// WriteBackups lists the backups of a directory.
func WriteBackups(out io.Writer, dir string, list []backup.Stored) {
	if len(list) == 0 {
		fmt.Fprintf(out, "no backup is in %s\n", dir)
		return
	}
	table(out, func(w io.Writer) {
		for _, s := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Started.UTC().Format("2006-01-02 15:04"), s.State, byteSize(s.Bytes), versionName(s.SchemaVersion), dash(s.Release), s.File, s.Problem)
		}
	})
}

// WriteRestored shows what a restore did, or would lose.
func WriteRestored(out io.Writer, r backup.Restored) {
	if r.Loss != nil {
		fmt.Fprintln(out, r.Loss)
	}
	if r.Done {
		fmt.Fprintf(out, "restored: the backup is database %s\n", r.Database)
		if r.Replaced != "" {
			fmt.Fprintf(out, "what was there before is database %s\n", r.Replaced)
		}
	}
}

// WriteAdoption shows what another tool left, and whether it was taken over.
func WriteAdoption(out io.Writer, p *adopt.Plan, write bool) {
	fmt.Fprint(out, p.Text())
	switch {
	case p.Refused():
		fmt.Fprintln(out, "\nnothing was written: correct what is refused first")
	case write:
		fmt.Fprintf(out, "\nwritten: the database is at %s\n", versionName(p.Version))
	case !p.Empty():
		fmt.Fprintln(out, "\nnothing was written: run again with --write")
	}
}

// WriteBackfill shows how far a backfill is.
func WriteBackfill(out io.Writer, p backfill.Progress) {
	fmt.Fprintf(out, "%d  %s: backfill %s, %.0f %%, %d rows changed in %d batches\n", p.Version, p.Name, p.State, 100*p.Fraction, p.Done, p.Batches)
}

func versionName(v int64) string {
	if v == history.NoVersion {
		return "no version"
	}
	return fmt.Sprintf("version %d", v)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// oneLine is a text on one line, cut to a width.
func oneLine(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func byteSize(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}
