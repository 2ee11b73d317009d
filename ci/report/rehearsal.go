package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// What every rendering says of a rehearsal of migrations, in the same words.

// rehearsed is the verdict on migrations. A rehearsal that did not come to one says nothing about them.
func rehearsed(r *rehearsal.Report) Verdict {
	switch r.Verdict {
	case rehearsal.Proven:
		return Proven
	case rehearsal.Refused:
		return Refused
	default:
		return Broken
	}
}

// essence is a rehearsal in one sentence.
func essence(r *rehearsal.Report) string {
	what := plural(len(r.Migrations), "migration")
	switch rehearsed(r) {
	case Broken:
		return "nothing is known about the migrations: the rehearsal did not end"
	case Refused:
		whom := "them"
		switch len(r.Migrations) {
		case 0:
			what = "the migrations"
		case 1:
			whom = "it"
		}
		return what + " must not be applied: " + plural(len(ofLevel(r, finding.Refuse)), "finding") + " against " + whom
	}
	if len(r.Migrations) == 0 {
		return "nothing is pending"
	}
	if wait := longestWait(r); wait > 0 {
		return what + " can be applied: nobody waited longer than " + millis(wait)
	}
	return what + " can be applied: nobody waited"
}

// measuredOn is what a rehearsal was about and what it was made on.
func measuredOn(r *rehearsal.Report) string {
	if len(r.Migrations) == 0 {
		return copied(r)
	}
	return joinNonEmpty(" · ", "version "+version(r.From)+" to "+version(r.To), copied(r))
}

// copied is what a rehearsal was made on.
func copied(r *rehearsal.Report) string {
	text := ""
	if r.Copy.Bytes > 0 {
		text = "copy of " + size(r.Copy.Bytes) + " without the original's data"
		if r.Copy.Real {
			text = "copy of " + size(r.Copy.Bytes) + " with the original's data"
		}
	}
	if server, _, _ := strings.Cut(line(r.Copy.Server), " "); server != "" {
		text = joinNonEmpty(" · ", text, "PostgreSQL "+server)
	}
	return text
}

// ofLevel are the findings of one level, in their order.
func ofLevel(r *rehearsal.Report, level finding.Level) []finding.Finding {
	var list []finding.Finding
	for _, f := range r.Findings {
		if f.Level == level {
			list = append(list, f)
		}
	}
	return list
}

// longestWait is the longest that somebody waited for a migration, in milliseconds.
func longestWait(r *rehearsal.Report) float64 {
	longest := 0.0
	for _, m := range r.Migrations {
		longest = max(longest, m.BlockedReadsMS, m.BlockedWritesMS)
	}
	return longest
}

// statementsOf are the statements of one migration.
func statementsOf(r *rehearsal.Report, m rehearsal.Migration) []rehearsal.Statement {
	var list []rehearsal.Statement
	for _, s := range r.Statements {
		if s.Version == m.Version {
			list = append(list, s)
		}
	}
	return list
}

// notable are at most n statements, in their order: those with the worst verdict, then those for which others waited longest.
func notable(statements []rehearsal.Statement, n int) []rehearsal.Statement {
	if len(statements) <= n {
		return statements
	}
	order := make([]int, len(statements))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := statements[i], statements[j]
		return cmp.Or(cmp.Compare(gravity(a.Verdict), gravity(b.Verdict)),
			cmp.Compare(max(b.BlockedReadsMS, b.BlockedWritesMS), max(a.BlockedReadsMS, a.BlockedWritesMS)),
			cmp.Compare(b.DurationMS, a.DurationMS))
	})
	order = order[:n]
	slices.Sort(order)
	kept := make([]rehearsal.Statement, n)
	for i, at := range order {
		kept[i] = statements[at]
	}
	return kept
}

// gravity orders verdicts, the worst first.
func gravity(w rehearsal.Word) int {
	switch w {
	case rehearsal.Refuse:
		return 0
	case rehearsal.Warn:
		return 1
	default:
		return 2
	}
}

// lockOf is the strongest lock that a statement took. One that takes no further lock still runs under those of the statements
// before it, unless its migration is not a transaction, which the report does not say.
func lockOf(r *rehearsal.Report, s rehearsal.Statement) string {
	if s.Lock != "" {
		return lockMode(s.Lock)
	}
	for _, before := range r.Statements {
		if before.Version == s.Version && before.Number < s.Number && before.Lock != "" {
			return "none new"
		}
	}
	return "none"
}

// lockText is the strongest lock that a statement took, or that it took none, in words.
func lockText(r *rehearsal.Report, s rehearsal.Statement) string {
	lock := lockOf(r, s)
	if s.Lock == "" {
		return "no" + strings.TrimPrefix(lock, "none") + " lock"
	}
	return lock
}

// reasonsOf are the findings about one statement that are more than notes, the worst first; its own reason where there is none
// and it does not pass.
func reasonsOf(r *rehearsal.Report, s rehearsal.Statement) []finding.Finding {
	var list []finding.Finding
	for _, f := range r.Findings {
		if f.Version == s.Version && f.Statement == s.Number && f.Level != finding.Note {
			list = append(list, f)
		}
	}
	if len(list) == 0 && gravity(s.Verdict) < gravity(rehearsal.Pass) {
		level := finding.Warn
		if s.Verdict == rehearsal.Refuse {
			level = finding.Refuse
		}
		list = append(list, finding.Finding{Level: level, Message: s.Reason})
	}
	return list
}

// rehearsedTitle is a migration's name, with its version where the name does not begin with it.
func rehearsedTitle(m rehearsal.Migration) string { return titleOf(m.Version, m.Name) }

func titleOf(number int64, name string) string {
	name = line(name)
	if digits := strconv.FormatInt(number, 10); strings.HasPrefix(strings.TrimLeft(name, "0"), digits) {
		return name
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", number, name))
}

// measured is what a migration did to the copy as a whole, on one line.
func measured(m rehearsal.Migration) string {
	return joinNonEmpty("; ", "took "+seconds(m.DurationMS/1000), waits(m), "WAL "+size(m.WALBytes), "disk "+size(m.DiskBytes))
}

func waits(m rehearsal.Migration) string {
	if m.BlockedReadsMS == 0 && m.BlockedWritesMS == 0 {
		return "nobody waited"
	}
	return "readers" + of(m.ReadersOf) + " waited " + millis(m.BlockedReadsMS) + ", writers" + of(m.WritersOf) + " " + millis(m.BlockedWritesMS)
}

func of(table string) string {
	if table = line(table); table != "" {
		return " of " + table
	}
	return ""
}

// expected is what a migration may do to the original, on one line.
func expected(m rehearsal.Migration) string {
	p := m.Predicted
	text := between(p.LowMS, p.HighMS)
	if p.BlockedReadsMS[1] > 0 || p.BlockedWritesMS[1] > 0 {
		text += "; readers wait " + between(p.BlockedReadsMS[0], p.BlockedReadsMS[1]) + ", writers " + between(p.BlockedWritesMS[0], p.BlockedWritesMS[1])
	}
	if p.Scale >= 1.05 { // less is a page here and there
		text += "; WAL " + size(p.WALBytes) + "; disk " + size(p.DiskBytes) + "; its tables are " + unit(p.Scale) + " times as large"
	}
	return text
}

// between is a range of milliseconds.
func between(low, high float64) string {
	from, to := seconds(low/1000), seconds(high/1000)
	if from == to {
		return from
	}
	return from + " to " + to
}

// bareMillis are milliseconds without the unit, for a column that has it in its head.
func bareMillis(ms float64) string { return strings.TrimSuffix(millis(ms), " ms") }

// yes is a fact in a table.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

// pasted says whether what to do about a finding is to be pasted: then its lines stay as they are.
func pasted(fix string) bool {
	fix = strings.TrimSpace(fix)
	return strings.Contains(fix, "\n") || strings.HasSuffix(fix, ";")
}

// fixLines are the lines of what is to be pasted.
func fixLines(fix string) []string {
	return strings.Split(strings.ReplaceAll(strings.Trim(plain(fix), "\n"), "\t", "    "), "\n")
}
