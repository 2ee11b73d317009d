// Package rehearsal runs the pending migrations on a copy of the database and tells what they would do to the original: for
// each statement what it locks, rewrites, scans and writes, and for how many milliseconds others wait for it; whether the
// way back leads back; what of the data changes; whether the running release works on the new schema and how its queries
// are planned there. Everything it says was seen on the copy, which is usually the one that proved the backup.
//
// It changes the copy, and further databases that it makes and drops on the copy's server. It never sees the original,
// starts no process and never decides what is released: the verdict is for its callers, the rehearsal of a release and the
// command line.
package rehearsal

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/compat"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/folder"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rules"
	"github.com/metaextract/pipeline/migrations/script"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Options say what is rehearsed on what.
type Options struct {
	// URL is of the copy: a database as the original is, on a server of its own, with nobody else on it, as a superuser.
	// It is of no use afterwards.
	URL string
	// Migrate are the options of the migrator, without URL.
	Migrate migrations.Options
	// Pending are the migrations to rehearse, those of the migrator's folder that the copy does not have.
	Pending []folder.Migration
	Source  *folder.Source

	// Statements are what the running release sends. Without any, nothing is known of whether it works on.
	Statements []corpus.Statement
	// Forgotten is how often the server that recorded them dropped the least called ones: above 0 they are not all.
	Forgotten int64
	// Settings decide plans: the original's.
	Settings map[string]string
	// Original is how large the original's tables are, in bytes with indexes; nil where there is none but the copy.
	Original map[string]int64
	// Real says that the copy holds the original's data, so that what was measured is what will be.
	Real bool
	// Scratch says that the folder applied to an empty database must give the original's schema.
	Scratch bool

	Budget  Budget
	Timeout time.Duration // of one statement; default migrations.DefaultStatementTimeout

	// Step is told what is done next; it may be nil.
	Step func(what string)
}

// Report is what a rehearsal has seen. It is the JSON of pipeline migrate rehearse.
type Report struct {
	Verdict    Verdict           `json:"verdict"`
	Reasons    []string          `json:"reasons"` // one sentence each; empty when proven
	From       int64             `json:"from"`    // version before; -1 for a database without migrations
	To         int64             `json:"to"`
	Migrations []Migration       `json:"migrations"`
	Statements []Statement       `json:"statements"`
	Findings   []finding.Finding `json:"findings"` // of all checks, the worst first
	Backup     *backup.Backup    `json:"backup"`   // that the copy was restored from; nil where the copy is no backup's
	RoundTrip  RoundTrip         `json:"round_trip"`
	Data       []checksum.Change `json:"data"`               // what of the data that was there before is not what it was
	Compat     *compat.Report    `json:"compatibility"`      // nil where it could not be looked at
	Plans      *plans.Report     `json:"plans"`              // the same
	Drift      *Drift            `json:"drift"`              // the same
	Contract   map[int64]string  `json:"contract,omitempty"` // by version: what it takes from releases before the running one
	Copy       Copy              `json:"copy"`               // what was measured on
	Budget     Budget            `json:"budget"`
	Elapsed    time.Duration     `json:"elapsed"`
}

// Verdict is what a rehearsal says of the migrations.
type Verdict string

// The verdicts.
const (
	Proven  Verdict = "proven"
	Refused Verdict = "refused"
)

// Copy is what was measured on.
type Copy struct {
	Server string `json:"server"` // its version
	Bytes  int64  `json:"bytes"`
	Real   bool   `json:"real"` // it holds the original's data
	// Statements of the running release that it was checked with.
	Statements int `json:"statements"`
}

// Run rehearses. An error is of the rehearsal itself, and the report has no verdict then; a migration that is not as it should
// be is in the report. One that fails is both: a *script.Error, or migrations.ErrVerify, and a report that refuses.
func Run(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	r := &run{Options: o, report: &Report{
		From: -1, To: -1, Migrations: []Migration{}, Statements: []Statement{}, Findings: []finding.Finding{}, Data: []checksum.Change{},
		Contract: map[int64]string{}, Budget: o.Budget, Reasons: []string{}, RoundTrip: newRoundTrip(),
	}}
	if r.Step == nil {
		r.Step = func(string) {}
	}
	if r.Timeout == 0 {
		r.Timeout = migrations.DefaultStatementTimeout
	}
	err := r.everything(ctx)
	r.report.Elapsed = time.Since(start)
	if err != nil && !r.fails(err) {
		return r.report, err
	}
	r.judge()
	return r.report, err
}

// fails puts an error of a migration itself into the report.
func (r *run) fails(err error) bool {
	f := finding.Finding{Name: "migration-fails", Level: finding.Refuse, Basis: finding.Measured, Message: "the migration fails: " + first(err)}
	var server *script.Error
	switch {
	case errors.As(err, &server):
		f.File, f.Line, f.Statement = server.File, server.Line, server.Statement
		f.Message = "the migration fails: " + server.Cause.Message + " (SQLSTATE " + server.Cause.Code + ")"
	case !errors.Is(err, migrations.ErrVerify):
		return false
	}
	r.found(f)
	return true
}

// run is a rehearsal under way.
type run struct {
	Options
	report *Report

	parsed map[int64][]*statement.Statement // of the pending migrations, by version
	before *catalog.Snapshot                // of the copy as it came
	sizes  map[string]int64                 // of its tables, in bytes with indexes
	major  int                              // of its server's version
	known  rules.Options                    // what static rules are told of it
	after  *catalog.Snapshot                // … migrated
}

func (r *run) everything(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if len(r.Pending) == 0 {
		return r.drift(ctx)
	}
	r.parse()
	copied, err := r.duplicate(ctx)
	if err != nil {
		return err
	}
	defer copied.drop(ctx)
	locks, err := r.migrateCopy(ctx, copied)
	if err != nil {
		return err
	}
	if err := r.drift(ctx); err != nil {
		return err
	}
	r.Step("measuring each statement, with readers and writers at its tables")
	r.report.Migrations, r.report.Statements, err = measure(ctx, r.Options, r.URL, copied.url, locks)
	if err != nil {
		return err
	}
	r.classify()
	return nil
}

// migrateCopy takes the second copy up, down and up again, and looks at it in between. It returns the locks that each
// migration takes.
func (r *run) migrateCopy(ctx context.Context, copied *copyOf) (map[int64][]evidence.Lock, error) {
	r.Step("migrating a second copy")
	before, err := copied.plansBefore(ctx)
	if err != nil {
		return nil, err
	}
	up, locks, err := copied.up(ctx)
	if err != nil {
		return nil, err
	}
	r.report.From, r.report.To = up.From, up.To
	if r.after, err = copied.snapshot(ctx); err != nil {
		return nil, err
	}
	r.removals()
	r.Step("comparing the data with what it was")
	if err := copied.compareData(ctx); err != nil {
		return nil, err
	}
	r.Step("preparing the running release's statements on the new schema")
	if err := copied.compatibility(ctx); err != nil {
		return nil, err
	}
	if err := copied.plansAfter(ctx, before); err != nil {
		return nil, err
	}
	r.Step("going back and forward again")
	return locks, copied.roundTrip(ctx)
}

// parse reads the pending migrations' statements, which takes a second the first time.
func (r *run) parse() {
	r.parsed = map[int64][]*statement.Statement{}
	for _, m := range r.Pending {
		s, err := r.Source.Script(m, folder.Up)
		if err != nil {
			continue // it was read before; the measurement says what is wrong
		}
		var sqls []string
		for i := range s.Statements {
			sqls = append(sqls, s.SQL(i))
		}
		r.parsed[m.Version] = statement.File(sqls)
	}
}

// judge comes to the verdict.
func (r *run) judge() {
	out := r.report
	allow := map[int64]map[string]string{}
	for _, m := range r.Pending {
		allow[m.Version] = m.Declared.Allow
	}
	for i, f := range out.Findings {
		if f.Version != 0 || f.File != "" {
			out.Findings[i] = f.Allow(allow[f.Version])
			continue
		}
		for _, version := range slices.Sorted(maps.Keys(allow)) { // of the migrations together
			out.Findings[i] = out.Findings[i].Allow(allow[version])
		}
	}
	finding.Sort(out.Findings)
	out.Verdict = Proven
	for _, f := range out.Findings {
		if f.Level == finding.Refuse {
			out.Verdict = Refused
			out.Reasons = append(out.Reasons, f.String())
		}
	}
	r.verdicts()
}

func (r *run) found(findings ...finding.Finding) {
	r.report.Findings = append(r.report.Findings, findings...)
}

// place puts a migration's place into a finding.
func place(m folder.Migration, f finding.Finding) finding.Finding {
	f.Version, f.File = m.Version, m.File
	return f
}

var errNoCopy = errors.New("rehearse migrations: no URL of a copy given")
