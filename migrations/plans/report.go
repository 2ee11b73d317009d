package plans

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Regression is a statement whose plan got worse.
type Regression struct {
	SQL          string          `json:"sql"`
	Calls        int64           `json:"calls"`
	Kind         Kind            `json:"kind"`
	Before       string          `json:"before"` // the plans, a step a line
	After        string          `json:"after"`
	CostBefore   float64         `json:"cost_before"` // in the planner's units
	CostAfter    float64         `json:"cost_after"`
	CostRatio    float64         `json:"cost_ratio"`
	BlocksBefore int64           `json:"blocks_before"` // pages of 8 kB; -1 where they were not counted
	BlocksAfter  int64           `json:"blocks_after"`
	TimeBefore   time.Duration   `json:"time_before"` // information: times differ between runs
	TimeAfter    time.Duration   `json:"time_after"`
	UntilAnalyze bool            `json:"until_analyze"` // the plan is as good as before once the tables have been analyzed
	Finding      finding.Finding `json:"finding"`
}

// Report is what a migration did to the plans of an application.
type Report struct {
	Statements   int               `json:"statements"` // whose plans were compared
	Measured     int               `json:"measured"`   // whose pages were counted, too
	Changed      int               `json:"changed"`    // whose plans have another shape, better or worse
	Improved     int               `json:"improved"`
	Regressions  []Regression      `json:"regressions"` // the worst come first
	NotCheckable []NotCheckable    `json:"not_checkable"`
	NotMeasured  []NotCheckable    `json:"not_measured"` // compared by their plans alone
	Settings     map[string]string `json:"settings"`     // of the planner
	Findings     []finding.Finding `json:"findings"`
}

// Compare says which plans got worse between before and after, which is right after the migration, and which of those are well
// again in analyzed, made after ANALYZE of the tables that the migration touched: a change of type deletes the statistics
// of a column, an index on an expression has none until then, and autovacuum may not come for days where few rows change.
// Without analyzed nothing is known about that.
//
// A regression refuses the migration where the plan has another shape and costs at least twice as much, both by estimate and
// by pages, or ten times by estimate alone where pages could not be counted; and where its execution was given up that took a
// tenth of the time before. Otherwise somebody should look. Until ANALYZE or not makes no difference to that: the plan is as
// bad as long as it lasts, and the remedy is one line.
func Compare(before, after, analyzed *Set) *Report {
	r := &Report{Settings: before.Settings, Regressions: []Regression{}, NotCheckable: []NotCheckable{}, NotMeasured: []NotCheckable{},
		Findings: []finding.Finding{}}
	for _, sql := range slices.Sorted(maps.Keys(before.Plans)) {
		r.compare(before, after, analyzed, before.Plans[sql])
	}
	slices.SortStableFunc(r.Regressions, func(a, b Regression) int {
		return cmp.Or(cmp.Compare(b.weight(), a.weight()), cmp.Compare(a.SQL, b.SQL))
	})
	for _, g := range r.Regressions {
		r.Findings = append(r.Findings, g.Finding)
	}
	r.NotCheckable = append(r.NotCheckable, before.NotCheckable...)
	if n := len(r.NotCheckable); n > 0 {
		r.Findings = append(r.Findings, finding.Finding{
			Name: "plan-not-checkable", Level: finding.Note, Basis: finding.Measured,
			Message: fmt.Sprintf("%d of %d statements have no plan that could be compared; the report lists them with the reasons", n, n+r.Statements),
		})
	}
	for _, other := range []*Set{after, analyzed} {
		if other != nil && !maps.Equal(before.Settings, other.Settings) {
			r.Findings = append(r.Findings, finding.Finding{
				Name: "plan-settings-differ", Level: finding.Warn, Basis: finding.Measured,
				Message: "the settings that decide plans were not the same before and after, so the differences may be theirs",
				Fix:     "give both sessions production's settings, and set none in a migration",
			})
			break
		}
	}
	finding.Sort(r.Findings)
	return r
}

// compare adds a statement.
func (r *Report) compare(before, after, analyzed *Set, b Plan) {
	a, planned := after.Plans[b.SQL]
	if !planned {
		why := "it has no plan after the migration"
		for _, n := range after.NotCheckable {
			if n.SQL == b.SQL {
				why = "after the migration: " + n.Reason
			}
		}
		r.NotCheckable = append(r.NotCheckable, NotCheckable{b.SQL, why})
		return
	}
	r.Statements++
	c := compare(before, after, b, a)
	set, untilAnalyze := after, false
	if analyzed != nil {
		if later, planned := analyzed.Plans[b.SQL]; planned {
			switch l := compare(before, analyzed, b, later); {
			case c.worse:
				untilAnalyze = !l.worse
			case l.worse: // the statistics that were missing hid it
				c, a, set = l, later, analyzed
			case l.better:
				c = l
			}
		}
	}
	switch {
	case b.Blocks < 0:
		r.NotMeasured = append(r.NotMeasured, NotCheckable{b.SQL, b.NotMeasured})
	case a.Blocks < 0 && !c.takesLonger:
		r.NotMeasured = append(r.NotMeasured, NotCheckable{b.SQL, "after the migration: " + a.NotMeasured})
	default:
		r.Measured++
	}
	if c.shape {
		r.Changed++
	}
	if c.better {
		r.Improved++
	}
	if !c.worse {
		return
	}
	g := Regression{
		SQL: b.SQL, Calls: b.Calls, Kind: c.kind, Before: b.Root.String(), After: a.Root.String(), CostBefore: b.Root.Cost, CostAfter: a.Root.Cost,
		CostRatio: c.cost, BlocksBefore: b.Blocks, BlocksAfter: a.Blocks, TimeBefore: b.Time, TimeAfter: a.Time, UntilAnalyze: untilAnalyze,
	}
	g.Finding = finding.Finding{
		Name: string(c.kind), Level: c.level(), Basis: finding.Measured, Object: c.object(),
		Message: g.message(c, set), Fix: g.fix(c, before, after, analyzed, a),
	}
	r.Regressions = append(r.Regressions, g)
}

// weight orders regressions: what all calls cost more.
func (g Regression) weight() float64 { return float64(max(g.Calls, 1)) * (g.CostAfter - g.CostBefore) }

// level is what a regression does to the verdict.
func (c change) level() finding.Level {
	another := c.kind != Cost && c.kind != Blocks
	if c.takesLonger || another && c.cost >= twice && c.blocks >= twice || another && !c.measured && c.cost >= tenfold {
		return finding.Refuse
	}
	return finding.Warn
}

// object is what the change is about, for a finding.
func (c change) object() string {
	if c.what == "" {
		return ""
	}
	return c.what + " " + c.name.String()
}

// message is what got worse, in one sentence.
func (g Regression) message(c change, set *Set) string {
	var what string
	switch g.Kind {
	case IndexLost:
		what = "used " + c.object() + ", which is gone"
	case SeqScan:
		what = fmt.Sprintf("reads all of %s (%d pages of 8 kB) where it did not", c.object(), set.pages[c.name])
	case FullIndexScan:
		what = "reads all of " + c.object() + " where it looked something up"
	case Spill:
		what = "sorts or hashes on the disk where it did in memory"
	case Join:
		what = "joins in another way or order"
	case Cost:
		what = "is expected to cost more"
	case Blocks:
		what = "goes through more pages"
	}
	text := fmt.Sprintf("a query %s: cost %.0f before, %.0f after (%.1f times)", what, g.CostBefore, g.CostAfter, g.CostRatio)
	switch {
	case c.takesLonger:
		text += fmt.Sprintf("; executed, it takes longer than %v, before %v", set.timeout, g.TimeBefore.Round(time.Millisecond))
	case g.BlocksBefore >= 0 && g.BlocksAfter >= 0:
		text += fmt.Sprintf("; pages %d before, %d after", g.BlocksBefore, g.BlocksAfter)
	}
	if g.UntilAnalyze {
		text += "; as before once the tables are analyzed"
	}
	return text + ": " + brief(g.SQL)
}

// fix is what to do about it.
func (g Regression) fix(c change, before, after, analyzed *Set, a Plan) string {
	if g.UntilAnalyze {
		return "add to the end of the migration: " + analyze(after, analyzed, a.Root)
	}
	switch g.Kind {
	case IndexLost:
		if definition := before.indexes[c.name]; definition != "" {
			return "keep the index, or make one that serves the query first; it was: " + definition
		}
	case SeqScan, FullIndexScan:
		return "make an index for the condition, with CREATE INDEX CONCURRENTLY in a migration of its own, before this one"
	case Spill:
		return "read fewer rows or columns, or make an index in the order of the sort"
	}
	return "compare the two plans in the report"
}

// analyze is ANALYZE of the tables of a plan that got statistics by it; of all of them where their number is the same.
func analyze(after, analyzed *Set, root *Node) string {
	tables := map[statement.Name]bool{}
	for step := range root.all() {
		if step.Relation != "" {
			tables[step.table()] = true
		}
	}
	grown := maps.Clone(tables)
	maps.DeleteFunc(grown, func(t statement.Name, _ bool) bool { return analyzed.statistics[t] <= after.statistics[t] })
	if len(grown) > 0 {
		tables = grown
	}
	var names []string
	for _, t := range sorted(tables) {
		names = append(names, t.SQL())
	}
	return "ANALYZE " + strings.Join(names, ", ") + ";"
}

// brief is a statement in a message.
func brief(sql string) string {
	const most = 120
	if runes := []rune(sql); len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return sql
}
