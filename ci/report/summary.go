package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/migrations/history"
)

// Headline is the report on one line: "REFUSED: metaextract 1.5.0 must not be released".
func (r *Report) Headline() string { return r.Verdict.word() + ": " + line(r.sentence()) }

// sentence says what the verdict means for the release.
func (r *Report) sentence() string {
	whole := r.whole()
	name := joinNonEmpty(" ", r.Application, r.Release)
	if name == "" {
		name = "this release"
	}
	switch {
	case r.Verdict == Proven && whole:
		return name + " can be released"
	case r.Verdict == Proven:
		return name + ": " + r.Command + " passed"
	case r.Verdict == Refused && whole:
		return name + " must not be released"
	case r.Verdict == Refused:
		return name + ": " + r.Command + " failed"
	default:
		return "nothing is known about " + name
	}
}

// whole says whether the run was all of the pipeline, not one stage.
func (r *Report) whole() bool {
	return r.Command == "rehearse" || r.Command == "release" || r.Command == ""
}

// from is one line that says what was compared with what, where.
func (r *Report) from() string {
	var parts []string
	if r.Running != "" {
		parts = append(parts, "from "+line(r.Running))
	}
	if r.Environment != "" {
		parts = append(parts, "for "+line(r.Environment))
	}
	if r.Runner != "" {
		parts = append(parts, "on the "+line(r.Runner))
	}
	return strings.Join(parts, " · ")
}

// Place is "file:line:column" as far as it is known, or "".
func (f Failure) Place() string {
	if f.File == "" {
		return ""
	}
	text := line(f.File)
	if f.Line > 0 {
		text += ":" + strconv.Itoa(f.Line)
		if f.Column > 0 {
			text += ":" + strconv.Itoa(f.Column)
		}
	}
	return text
}

// seed is the seed for people, unless the replay says it already.
func (f Failure) seed() string {
	if f.Seed == "" || strings.Contains(f.Replay, f.Seed) {
		return ""
	}
	return "seed " + line(f.Seed)
}

// detail is the message, without a first line that says what the title says.
func (f Failure) detail() string {
	message := strings.Trim(plain(f.Message), "\n")
	first, rest, _ := strings.Cut(message, "\n")
	if line(first) == line(f.Title) {
		return strings.Trim(rest, "\n")
	}
	return message
}

// Dropped is "5,027 requests, 0 dropped".
func (t *Traffic) Dropped() string {
	return plural(t.Requests, "request") + ", " + count(t.Failed) + " dropped"
}

// Latency is "p50 4.2 ms, p95 12 ms, p99 19 ms".
func (t *Traffic) Latency() string {
	return "p50 " + millis(t.P50) + ", p95 " + millis(t.P95) + ", p99 " + millis(t.P99)
}

// droppedCause is one kind of failed request and how often it was seen.
type droppedCause struct {
	What  string
	Count int
}

// errors are the failures of the traffic, most frequent first.
func (t *Traffic) errors() []droppedCause {
	causes := make([]droppedCause, 0, len(t.Errors))
	for what, n := range t.Errors {
		causes = append(causes, droppedCause{what, n})
	}
	slices.SortFunc(causes, func(a, b droppedCause) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.What, b.What)
	})
	return causes
}

// Summary is what the drill showed: "back on the old release in 214 ms, 0 requests dropped".
func (d *Rollback) Summary() string {
	return "back on the old release in " + seconds(d.Seconds) + ", " + plural(d.Failed, "request") + " dropped"
}

func (d *Rollback) word() string {
	if d.Proven {
		return "proven"
	}
	return "not proven"
}

func (d *Rollback) status() Status {
	if d.Proven {
		return Passed
	}
	return Failed
}

// Summary is what the database stage did: "version 1 to 2 in 41 ms; backup proven: 1.3 MB, 3 tables, 23,943 rows, …".
func (d *Database) Summary() string {
	text := d.version()
	if d.Rehearsal != nil {
		text += "; " + essence(d.Rehearsal)
	}
	if d.Backup != nil {
		text += "; " + backupWord(d.Backup) + ": " + backupSentence(d.Backup)
	}
	return text
}

func (d *Database) version() string {
	m, r := d.Migrations, d.Rehearsal
	if len(m.Applied) == 0 && r != nil && len(r.Migrations) > 0 {
		return "version " + version(r.From) + " to " + version(r.To) + ", not applied"
	}
	if len(m.Applied) == 0 {
		return "version " + version(m.To) + ", nothing to apply"
	}
	return "version " + version(m.From) + " to " + version(m.To) + " in " + seconds(m.Elapsed.Seconds())
}

// version is a schema's, "none" for a database without migrations.
func version(v int64) string {
	if v == history.NoVersion {
		return "none"
	}
	return strconv.FormatInt(v, 10)
}
