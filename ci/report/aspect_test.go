package report

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/compat"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

func TestAspectsSayHowTheyEnded(t *testing.T) {
	finds := func(r *rehearsal.Report, name string, level finding.Level) {
		r.Findings = append(r.Findings, finding.Finding{Name: name, Level: level})
	}
	for name, c := range map[string]struct {
		change func(r *rehearsal.Report)
		of     func(a aspects) aspect
		want   string
	}{
		"a budget that is kept":                {func(*rehearsal.Report) {}, func(a aspects) aspect { return a.Budget }, "✓ kept: blocked reads 200 ms, blocked writes 200 ms, duration 60.0 s; no bound on WAL, disk"},
		"a budget that may be exceeded":        {func(r *rehearsal.Report) { finds(r, "duration", finding.Warn) }, func(a aspects) aspect { return a.Budget }, "! may be exceeded: blocked reads 200 ms"},
		"a budget that is exceeded":            {func(r *rehearsal.Report) { finds(r, "wal", finding.Refuse) }, func(a aspects) aspect { return a.Budget }, "✗ exceeded: blocked reads 200 ms"},
		"a budget that is exceeded as allowed": {func(r *rehearsal.Report) { finds(r, "wal", finding.Note) }, func(a aspects) aspect { return a.Budget }, "✓ kept"},
		"no budget":                            {func(r *rehearsal.Report) { r.Budget = rehearsal.Budget{} }, func(a aspects) aspect { return a.Budget }, "- none: nothing bounds what a migration may cost"},
		"no backup":                            {func(r *rehearsal.Report) { r.Backup = nil }, func(a aspects) aspect { return a.Backup }, "- none"},
		"a backup that is not proven": {func(r *rehearsal.Report) {
			r.Backup.Proven, r.Backup.Proof = false, []backup.Rung{{Name: "rows", Detail: "table a has 1 rows instead of 2"}}
		}, func(a aspects) aspect { return a.Backup }, "✗ NOT proven: 1.3 MB, 3 tables, 23,943 rows, not restored; rows failed: table a has 1 rows instead of 2"},
		"a way back that was tried":     {func(*rehearsal.Report) {}, func(a aspects) aspect { return a.RoundTrip }, "✓ proven: 1 migration taken back in 219 ms and applied again"},
		"a way back that leads nowhere": {func(r *rehearsal.Report) { r.RoundTrip.Verdict = rehearsal.NotBack }, func(a aspects) aspect { return a.RoundTrip }, "✗ failed"},
		"a way back that leads half of the way": {func(r *rehearsal.Report) { r.RoundTrip.Verdict = rehearsal.Partly }, func(a aspects) aspect { return a.RoundTrip },
			"✓ partly: 1 migration taken back in 219 ms"},
		"no way back, as declared": {func(r *rehearsal.Report) {
			r.RoundTrip = rehearsal.RoundTrip{Verdict: rehearsal.NoWay, Irreversible: map[int64]string{2: "gone"}}
		}, func(a aspects) aspect { return a.RoundTrip }, "- not tried: nothing can be taken back but by restoring the backup"},
		"no way back, and nobody says so": {func(r *rehearsal.Report) {
			r.RoundTrip = rehearsal.RoundTrip{Verdict: rehearsal.NoWay}
			finds(r, "irreversible-undeclared", finding.Refuse)
		}, func(a aspects) aspect { return a.RoundTrip }, "✗ not tried"},
		"data that did not change": {func(*rehearsal.Report) {}, func(a aspects) aspect { return a.Data }, "✓ unchanged"},
		"data that changed as declared": {func(r *rehearsal.Report) { r.Data = []checksum.Change{{Schema: "s", Table: "t"}} }, func(a aspects) aspect { return a.Data },
			"✓ changed as declared: 1 change"},
		"data that changed": {func(r *rehearsal.Report) {
			r.Data = []checksum.Change{{Schema: "s", Table: "t"}, {Schema: "s", Table: "t", Column: "c"}}
			r.Findings = append(r.Findings, finding.Finding{Name: "undeclared-data-change", Level: finding.Refuse, Object: "column s.t.c"})
		}, func(a aspects) aspect { return a.Data }, "✗ changed: 2 changes, 1 of them not declared"},
		"data that changed, as allowed": {func(r *rehearsal.Report) {
			r.Data = []checksum.Change{{Schema: "s", Table: "t"}}
			r.Findings = append(r.Findings, finding.Finding{Name: "undeclared-data-change", Level: finding.Note, Object: "table s.t"})
		}, func(a aspects) aspect { return a.Data }, "✓ changed as declared: 1 change"},
		"a running release that works": {func(*rehearsal.Report) {}, func(a aspects) aspect { return a.Running }, "✓ works: 3 statements of it checked on the new schema"},
		"a running release that was not looked at": {func(r *rehearsal.Report) { r.Compat, r.Copy.Statements = nil, 0 }, func(a aspects) aspect { return a.Running },
			"- not checked: no statement of the running release is known"},
		"a running release with a warning": {func(r *rehearsal.Report) {
			r.Compat.Findings = []finding.Finding{{Name: "recycle-connections"}}
			finds(r, "recycle-connections", finding.Warn)
		}, func(a aspects) aspect { return a.Running }, "! to be looked at"},
		"a running release that comes too early": {func(r *rehearsal.Report) { finds(r, "contract-too-early", finding.Refuse) }, func(a aspects) aspect { return a.Running }, "✗ in the way"},
		"a running release that breaks, as allowed": {func(r *rehearsal.Report) {
			r.Compat.Broken = []compat.Broken{{SQLState: "42703"}}
			finds(r, "breaks-running-release", finding.Note)
		}, func(a aspects) aspect { return a.Running }, "✓ broken: 3 statements of it checked on the new schema, 1 broken"},
		"plans that are as they were":  {func(*rehearsal.Report) {}, func(a aspects) aspect { return a.Plans }, "✓ as good as before: 3 plans compared, 2 executed"},
		"plans of which one is better": {func(r *rehearsal.Report) { r.Plans.Improved = 1 }, func(a aspects) aspect { return a.Plans }, "✓ as good as before: 3 plans compared, 2 executed, 1 better"},
		"a plan that is worse until ANALYZE": {func(r *rehearsal.Report) {
			r.Plans.Regressions = []plans.Regression{{Kind: plans.Cost, UntilAnalyze: true}}
			finds(r, "plan-cost", finding.Warn)
		}, func(a aspects) aspect { return a.Plans }, "! worse: 3 plans compared, 2 executed, 1 worse"},
		"no drift":              {func(*rehearsal.Report) {}, func(a aspects) aspect { return a.Drift }, "✓ none: the schema is what the last migration left; the folder makes the same"},
		"drift of which nobody": {func(r *rehearsal.Report) { r.Drift = nil }, func(a aspects) aspect { return a.Drift }, "- not looked for"},
		"a folder that makes no database": {func(r *rehearsal.Report) {
			r.Drift.NotBuilt = "1.sql:3: syntax error"
			finds(r, "not-built-from-nothing", finding.Warn)
		}, func(a aspects) aspect { return a.Drift }, "! to be looked at: the schema is what the last migration left; the folder was not applied to an empty database: 1.sql:3: syntax error"},
	} {
		t.Run(name, func(t *testing.T) {
			r := provenRehearsal()
			c.change(r)
			a := c.of(newAspects(r))
			got := paint(false).word(a.State) + " " + joinNonEmpty(": ", a.Word, a.Text)
			assert.True(t, strings.HasPrefix(got, c.want), "%q\nwants %q", got, c.want)
		})
	}
}

func TestWhereNothingIsPendingOnlyTheDatabaseIsLookedAt(t *testing.T) {
	names := []string{}
	for _, a := range newAspects(&rehearsal.Report{Verdict: rehearsal.Proven, Drift: &rehearsal.Drift{}}).list() {
		names = append(names, a.Name)
	}
	assert.Equal(t, []string{"Backup", "Drift"}, names)
}

func TestNotableStatementsAreTheWorstInTheirOrder(t *testing.T) {
	assert.NoError(t, quick.Check(func(verdicts []uint8, waits []uint8, n uint8) bool {
		most := int(n)%10 + 1
		var all []rehearsal.Statement
		refused := 0
		for i, v := range verdicts {
			s := rehearsal.Statement{Number: i + 1, Verdict: []rehearsal.Word{rehearsal.Pass, rehearsal.Warn, rehearsal.Refuse}[v%3]}
			if i < len(waits) {
				s.BlockedReadsMS = float64(waits[i])
			}
			if s.Verdict == rehearsal.Refuse {
				refused++
			}
			all = append(all, s)
		}
		kept := notable(all, most)
		if len(kept) != min(len(all), most) {
			return false
		}
		last := 0
		for _, s := range kept {
			if s.Number <= last {
				return false
			}
			last = s.Number
			if s.Verdict == rehearsal.Refuse {
				refused--
			}
		}
		return refused <= max(0, len(all)-most) && (refused == 0 || refused > 0 && kept[0].Verdict == rehearsal.Refuse)
	}, nil))
}

func TestAMigrationIsNamedWithItsVersionOnce(t *testing.T) {
	for want, got := range map[string]string{
		"2 add_kind":              titleOf(2, "add_kind"),
		"2_visits":                titleOf(2, "2_visits"),
		"0002_visits":             titleOf(2, "0002_visits"),
		"20261120093000_kind":     titleOf(20261120093000, "20261120093000_kind"),
		"1794840007518 0001_kind": titleOf(1794840007518, "0001_kind"),
		"7":                       titleOf(7, ""),
	} {
		assert.Equal(t, want, got)
	}
}
