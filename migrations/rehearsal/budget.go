package rehearsal

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/metaextract/pipeline/migrations/finding"
)

// Budget is what a migration may cost those who use the database meanwhile. Zero is no bound.
type Budget struct {
	BlockedReads  time.Duration `json:"blocked_reads"`
	BlockedWrites time.Duration `json:"blocked_writes"`
	Duration      time.Duration `json:"duration"`
	WAL           int64         `json:"wal_bytes"`
	Disk          int64         `json:"disk_bytes"`
}

// Prediction is what to expect of the original, as a range. Low is what was measured, in proportion to the size of the
// original's tables: scans and rewrites are linear in bytes. High adds the logarithm by which building an index grows faster,
// and headroom for a cold cache, for the flushes that a copy does without, and for others at work.
type Prediction struct {
	Scale           float64    `json:"scale"` // the original's size over the copy's; 1 where the copy is of the same size
	LowMS           float64    `json:"low_ms"`
	HighMS          float64    `json:"high_ms"`
	BlockedReadsMS  [2]float64 `json:"blocked_reads_ms"` // low, high
	BlockedWritesMS [2]float64 `json:"blocked_writes_ms"`
	WALBytes        int64      `json:"wal_bytes"`
	DiskBytes       int64      `json:"disk_bytes"`
}

// headroom is how much longer than on a quiet copy a statement may take on the original. It is a margin, not a
// measurement: a timeout taken from a rehearsal should leave as much.
const headroom = 3

// predict scales what was measured to the original's size.
func (r *run) predict(sizes map[string]int64, tables []string, grows, builds bool, duration, reads, writes float64, wal, disk int64) Prediction {
	scale := 1.0
	if grows {
		for _, t := range tables {
			if original, copied := r.Original[t], sizes[t]; original > 0 && copied > 0 {
				scale = max(scale, float64(original)/float64(copied))
			}
		}
	}
	high := scale * headroom
	if builds && scale > 1 {
		rows := 2.0
		for _, t := range tables {
			rows = max(rows, float64(sizes[t])/100) // a row is a hundred bytes, more or less; only its logarithm counts
		}
		high *= math.Log2(rows*scale) / math.Log2(rows)
	}
	return Prediction{
		Scale: scale, LowMS: duration * scale, HighMS: duration * high,
		BlockedReadsMS: [2]float64{reads * scale, reads * high}, BlockedWritesMS: [2]float64{writes * scale, writes * high},
		WALBytes: int64(float64(wal) * scale), DiskBytes: int64(float64(disk) * scale),
	}
}

// classify completes what is said of the statements, and holds the migrations against the budget.
func (r *run) classify() {
	out := r.report
	for i := range out.Statements {
		st := &out.Statements[i]
		parsed := r.parsed[st.Version]
		if st.Number <= len(parsed) {
			st.Class, st.Why = parsed[st.Number-1].Class(), parsed[st.Number-1].Why()
		}
		st.Rewrite, st.Scan = len(st.Rewrites) > 0, len(st.Scans) > 0
		for _, l := range st.Locks {
			if strength(l.Mode) > strength(st.Lock) {
				st.Lock = l.Mode
			}
		}
		st.Predicted = r.predict(r.sizes, st.tables(), st.Rewrite || st.Scan || st.WALBytes > 1<<20, strings.Contains(strings.ToUpper(st.SQL), "INDEX"),
			st.DurationMS, st.BlockedReadsMS, st.BlockedWritesMS, st.WALBytes, st.DiskBytes)
	}
	for i := range out.Migrations {
		m := &out.Migrations[i]
		m.Predicted = Prediction{Scale: 1, BlockedReadsMS: [2]float64{m.BlockedReadsMS, m.BlockedReadsMS * headroom},
			BlockedWritesMS: [2]float64{m.BlockedWritesMS, m.BlockedWritesMS * headroom}}
		p := &m.Predicted
		for _, st := range out.Statements {
			if st.Version != m.Version {
				continue
			}
			p.Scale = max(p.Scale, st.Predicted.Scale)
			p.LowMS, p.HighMS = p.LowMS+st.Predicted.LowMS, p.HighMS+st.Predicted.HighMS
			p.WALBytes, p.DiskBytes = p.WALBytes+st.Predicted.WALBytes, max(p.DiskBytes, st.Predicted.DiskBytes)
		}
		for k := range 2 {
			p.BlockedReadsMS[k] *= p.Scale
			p.BlockedWritesMS[k] *= p.Scale
		}
		r.hold(m)
	}
	r.hints()
}

// tables are those that a statement locked, rewrote or scanned.
func (s *Statement) tables() []string {
	var names []string
	for _, l := range s.Locks {
		names = append(names, l.Relation)
	}
	names = append(names, s.Rewrites...)
	for _, scan := range s.Scans {
		names = append(names, scan.Table)
	}
	return names
}

// hold finds what of a migration is beyond the budget. What was measured, or follows from the original's size, refuses it;
// what only the upper end of the range exceeds is a warning.
func (r *run) hold(m *Migration) {
	p, b := m.Predicted, r.Budget
	r.beyond(m, "blocked-reads", "keeps readers of "+or(m.ReadersOf, "its tables")+" waiting", p.BlockedReadsMS, b.BlockedReads)
	r.beyond(m, "blocked-writes", "keeps writers of "+or(m.WritersOf, "its tables")+" waiting", p.BlockedWritesMS, b.BlockedWrites)
	r.beyond(m, "duration", "takes", [2]float64{p.LowMS, p.HighMS}, b.Duration)
	r.above(m, "wal", "writes %s of write-ahead log", p.WALBytes, b.WAL)
	r.above(m, "disk", "makes the database %s larger while it runs", p.DiskBytes, b.Disk)
}

func (r *run) beyond(m *Migration, name, what string, span [2]float64, bound time.Duration) {
	limit := milliseconds(bound)
	if bound == 0 || span[1] <= limit {
		return
	}
	f := finding.Finding{Name: name, Level: finding.Warn, Basis: finding.Measured, Version: m.Version, File: m.File,
		Message: fmt.Sprintf("the migration %s for %s to %s, and %s is the budget", what, show(span[0]), show(span[1]), show(limit))}
	if span[0] > limit {
		f.Level = finding.Refuse
		if st := r.slowest(m.Version, name); st != nil {
			f.File, f.Line, f.Statement = st.File, st.Line, st.Number
			f.Message += fmt.Sprintf("; most of it in statement %d (%s)", st.Number, cause(st))
			f.Fix = r.recipe(st)
		}
	} else if r.Real {
		return // the copy is the original: what it takes longer there is noise
	}
	r.found(f)
}

func (r *run) above(m *Migration, name, what string, bytes, bound int64) {
	if bound > 0 && bytes > bound {
		r.found(finding.Finding{Name: name, Level: finding.Refuse, Basis: finding.Measured, Version: m.Version, File: m.File,
			Message: fmt.Sprintf("the migration "+what+", and %s is the budget", size(bytes), size(bound))})
	}
}

// slowest is the statement of a migration that kept others waiting the longest, or took the longest.
func (r *run) slowest(version int64, name string) *Statement {
	var most *Statement
	value := func(s *Statement) float64 {
		switch name {
		case "blocked-reads":
			return s.BlockedReadsMS
		case "blocked-writes":
			return s.BlockedWritesMS
		}
		return s.DurationMS
	}
	for i := range r.report.Statements {
		if s := &r.report.Statements[i]; s.Version == version && (most == nil || value(s) > value(most)) {
			most = s
		}
	}
	return most
}

// spelled is a lock mode as SQL has it: "AccessExclusiveLock" is ACCESS EXCLUSIVE.
func spelled(mode string) string {
	var b strings.Builder
	for i, r := range strings.TrimSuffix(mode, "Lock") {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// cause is why a statement takes its time, as far as it was seen.
func cause(s *Statement) string {
	var parts []string
	if s.Lock != "" {
		parts = append(parts, "takes "+spelled(s.Lock))
	} else if s.under {
		parts = append(parts, "runs while locks of statements before it are held")
	}
	if s.Rewrite {
		parts = append(parts, "rewrites "+strings.Join(s.Rewrites, ", "))
	}
	if s.Scan {
		var names []string
		for _, scan := range s.Scans {
			names = append(names, scan.Table)
		}
		parts = append(parts, "reads all of "+strings.Join(names, ", "))
	}
	for _, t := range s.Changed {
		parts = append(parts, fmt.Sprintf("changes %d rows of %s, which stay locked until it commits", t.Rows, t.Table))
	}
	return strings.Join(parts, ", ")
}

func show(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func size(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	v, i := float64(bytes), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// verdicts says of each statement what the worst finding about it is, and otherwise what was seen of it.
func (r *run) verdicts() {
	for i := range r.report.Statements {
		st := &r.report.Statements[i]
		st.Verdict, st.Reason = Pass, r.seen(st)
		if f, ok := worst(r.report.Findings, st.Version, st.Number); ok && f.Level != finding.Note {
			st.Verdict, st.Reason = Warn, f.Message
			if f.Level == finding.Refuse {
				st.Verdict = Refuse
			}
		}
	}
}

// seen is why a statement passes.
func (r *run) seen(s *Statement) string {
	var parts []string
	switch {
	case s.BlockedReadsMS == 0 && s.BlockedWritesMS == 0:
		parts = append(parts, "nobody waited")
	default:
		parts = append(parts, fmt.Sprintf("readers waited %s, writers %s, within the budget", show(s.BlockedReadsMS), show(s.BlockedWritesMS)))
	}
	if why := cause(s); why != "" {
		parts = append(parts, why)
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "; ")
}
