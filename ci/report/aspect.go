package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/plans"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// aspect is one thing that a rehearsal looked at beside its statements: what, how it ended, why.
type aspect struct {
	Name  string
	State rehearsal.Word // "" where it was not looked at
	Word  string         // "proven"
	Text  string
	Lines []string // more of it, where there is room
}

// aspects are what a rehearsal looked at.
type aspects struct {
	Budget, Backup, RoundTrip, Data, Running, Plans, Drift aspect
}

func newAspects(r *rehearsal.Report) aspects {
	a := aspects{Backup: ofBackup(r.Backup), Drift: ofDrift(r)}
	if len(r.Migrations) > 0 {
		a.Budget, a.RoundTrip, a.Data, a.Running, a.Plans = ofBudget(r), ofRoundTrip(r), ofData(r), ofRunning(r), ofPlans(r)
	}
	return a
}

// list are those that there are something to say of, in the order in which they are told.
func (a aspects) list() []aspect {
	all := []aspect{a.Budget, a.Backup, a.RoundTrip, a.Data, a.Running, a.Plans, a.Drift}
	return slices.DeleteFunc(all, func(one aspect) bool { return one.Name == "" })
}

// found is what the findings about an aspect say of it.
func found(r *rehearsal.Report, about func(f finding.Finding) bool) rehearsal.Word {
	state := rehearsal.Pass
	for _, f := range r.Findings {
		switch {
		case !about(f) || f.Level == finding.Note:
		case f.Level == finding.Refuse:
			return rehearsal.Refuse
		default:
			state = rehearsal.Warn
		}
	}
	return state
}

func named(names ...string) func(finding.Finding) bool {
	return func(f finding.Finding) bool { return slices.Contains(names, f.Name) }
}

func ofBudget(r *rehearsal.Report) aspect {
	b := r.Budget
	var bounds, none []string
	bound := func(what string, is bool, value string) {
		if is {
			bounds = append(bounds, what+" "+value)
		} else {
			none = append(none, what)
		}
	}
	bound("blocked reads", b.BlockedReads > 0, seconds(b.BlockedReads.Seconds()))
	bound("blocked writes", b.BlockedWrites > 0, seconds(b.BlockedWrites.Seconds()))
	bound("duration", b.Duration > 0, seconds(b.Duration.Seconds()))
	bound("WAL", b.WAL > 0, size(b.WAL))
	bound("disk", b.Disk > 0, size(b.Disk))
	if len(bounds) == 0 {
		return aspect{Name: "Budget", Word: "none", Text: "nothing bounds what a migration may cost"}
	}
	text := strings.Join(bounds, ", ")
	if len(none) > 0 {
		text += "; no bound on " + strings.Join(none, ", ")
	}
	a := aspect{Name: "Budget", State: found(r, named("blocked-reads", "blocked-writes", "duration", "wal", "disk")), Text: text}
	a.Word = map[rehearsal.Word]string{rehearsal.Pass: "kept", rehearsal.Warn: "may be exceeded", rehearsal.Refuse: "exceeded"}[a.State]
	return a
}

func ofBackup(b *backup.Backup) aspect {
	if b == nil {
		return aspect{Name: "Backup", Word: "none", Text: "what was rehearsed on was not restored from a backup"}
	}
	a := aspect{Name: "Backup", State: rehearsal.Pass, Word: "proven", Text: backupSentence(b)}
	if !b.Proven {
		a.State, a.Word = rehearsal.Refuse, "NOT proven"
	}
	var skipped []string
	for _, rung := range b.Proof {
		switch {
		case rung.Skipped:
			skipped = append(skipped, line(rung.Name))
		case !rung.OK:
			a.Text += "; " + line(rung.Name) + " failed: " + line(rung.Detail)
		}
	}
	if len(skipped) > 0 {
		a.Text += "; not tried: " + strings.Join(skipped, ", ")
	}
	return a
}

func ofRoundTrip(r *rehearsal.Report) aspect {
	trip := r.RoundTrip
	a := aspect{Name: "Round trip", Word: string(trip.Verdict), State: found(r, named("way-back-fails", "way-back-leads-elsewhere",
		"way-back-loses-data", "way-back-breaks-the-way-up", "second-way-up-differs", "irreversible-undeclared"))}
	taken := plural(len(trip.Down), "migration") + " taken back in " + seconds(trip.DurationMS/1000)
	switch trip.Verdict {
	case rehearsal.Back:
		a.Text = taken + " and applied again: schema and data are what they were"
	case rehearsal.Partly:
		a.Text = taken + " and applied again; those before cannot be taken back"
	case rehearsal.NotBack:
		a.State, a.Text = rehearsal.Refuse, "the way back does not lead to where it began"
	default:
		a.Word, a.Text = string(rehearsal.NoWay), "nothing can be taken back but by restoring the backup"
		if a.State == rehearsal.Pass {
			a.State = ""
		}
	}
	if n := len(provenWays(r)); n > 0 {
		a.Text += "; " + plural(n, "way") + " back proposed"
	}
	for _, number := range sortedKeys(trip.Irreversible) {
		a.Lines = append(a.Lines, fmt.Sprintf("%d is irreversible: %s", number, trip.Irreversible[number]))
	}
	for _, d := range trip.Before {
		a.Lines = append(a.Lines, "after the way back: "+d.String())
	}
	for _, d := range trip.Again {
		a.Lines = append(a.Lines, "after the second way up: "+d.String())
	}
	for _, c := range trip.Data {
		a.Lines = append(a.Lines, "after the way back: "+c.String())
	}
	return a
}

// provenWays are the ways back that were made up, by file, where they were tried and lead back.
func provenWays(r *rehearsal.Report) map[string]string {
	if r.RoundTrip.Verdict != rehearsal.Back {
		return nil
	}
	return r.RoundTrip.Proposed
}

func ofData(r *rehearsal.Report) aspect {
	a := aspect{Name: "Data", State: found(r, named("undeclared-data-change")), Word: "unchanged", Text: "every row that was there is what it was"}
	undeclared := 0
	for _, c := range r.Data {
		text := c.String()
		if isUndeclared(r, c) {
			undeclared++
			text = "undeclared: " + text
		}
		a.Lines = append(a.Lines, text)
	}
	switch n := len(r.Data); {
	case undeclared > 0:
		a.Word, a.Text = "changed", plural(n, "change")+", "+count(undeclared)+" of them not declared"
	case n > 0:
		a.Word, a.Text = "changed as declared", plural(n, "change")
	}
	return a
}

// isUndeclared says whether a rehearsal found a change of data that no migration declares. Its findings name what changed.
func isUndeclared(r *rehearsal.Report, c checksum.Change) bool {
	object := "table " + c.Schema + "." + c.Table
	if c.Column != "" {
		object = "column " + c.Schema + "." + c.Table + "." + c.Column
	}
	return slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
		return f.Name == "undeclared-data-change" && f.Level != finding.Note && f.Object == object
	})
}

// whyNotLooked is why nothing is known of the running release and of its plans.
func whyNotLooked(r *rehearsal.Report) string {
	if r.Copy.Statements == 0 {
		return "no statement of the running release is known"
	}
	return "the rehearsal did not come to it"
}

func ofRunning(r *rehearsal.Report) aspect {
	c := r.Compat
	a := aspect{Name: "Running release", Word: "not checked"}
	if c == nil || c.Statements+len(c.NotCheckable) == 0 {
		a.Text = whyNotLooked(r)
		return a
	}
	names := map[string]bool{"contract-too-early": true}
	for _, f := range c.Findings {
		names[f.Name] = true
	}
	a.State = found(r, func(f finding.Finding) bool { return names[f.Name] })
	a.Word = "works"
	a.Text = plural(c.Statements, "statement") + " of it checked on the new schema"
	switch {
	case len(c.Broken) > 0:
		a.Word = "broken"
		a.Text += ", " + count(len(c.Broken)) + " broken"
	case a.State == rehearsal.Refuse:
		a.Word = "in the way"
	case a.State == rehearsal.Warn:
		a.Word = "to be looked at"
	}
	if n := len(c.NotCheckable); n > 0 {
		a.Text += "; " + count(n) + " not checkable"
	}
	for _, b := range c.Broken {
		a.Lines = append(a.Lines, fmt.Sprintf("%s %s, %s: %s", b.SQLState, b.Message, plural(b.Calls, "call"), b.SQL))
	}
	return a
}

func ofPlans(r *rehearsal.Report) aspect {
	p := r.Plans
	a := aspect{Name: "Plans", Word: "not checked"}
	if p == nil || p.Statements+len(p.NotCheckable) == 0 {
		a.Text = whyNotLooked(r)
		return a
	}
	a.State = found(r, func(f finding.Finding) bool { return strings.HasPrefix(f.Name, "plan-") })
	a.Word = "as good as before"
	a.Text = plural(p.Statements, "plan") + " compared, " + count(p.Measured) + " executed"
	if len(p.Regressions) > 0 {
		a.Word = "worse"
		a.Text += ", " + count(len(p.Regressions)) + " worse"
	}
	if p.Improved > 0 {
		a.Text += ", " + count(p.Improved) + " better"
	}
	if n := len(p.NotCheckable); n > 0 {
		a.Text += "; " + count(n) + " not comparable"
	}
	for _, g := range p.Regressions {
		a.Lines = append(a.Lines, regressed(g)+": "+g.SQL)
	}
	return a
}

// regressed is what about a plan got worse, in numbers.
func regressed(g plans.Regression) string {
	text := fmt.Sprintf("%s, %s, cost %s to %s", g.Kind, plural(g.Calls, "call"), count(int64(g.CostBefore+0.5)), count(int64(g.CostAfter+0.5)))
	if g.BlocksBefore >= 0 && g.BlocksAfter >= 0 {
		text += ", pages " + count(g.BlocksBefore) + " to " + count(g.BlocksAfter)
	}
	if g.UntilAnalyze {
		text += ", until ANALYZE"
	}
	return text
}

func ofDrift(r *rehearsal.Report) aspect {
	d := r.Drift
	if d == nil {
		return aspect{Name: "Drift", Word: "not looked for"}
	}
	a := aspect{Name: "Drift", Word: "none", State: found(r, named("drift", "drift-from-migrations", "not-built-from-nothing"))}
	var parts []string
	switch n := len(d.Recorded); {
	case n > 0:
		parts = append(parts, plural(n, "difference")+" from what the last migration left")
	case d.Known:
		parts = append(parts, "the schema is what the last migration left")
	default:
		parts = append(parts, "what the last migration left was not recorded")
	}
	switch n := len(d.Built); {
	case n > 0:
		parts = append(parts, plural(n, "difference")+" from what the folder makes of an empty database")
	case d.NotBuilt != "":
		parts = append(parts, "the folder was not applied to an empty database: "+line(d.NotBuilt))
	default:
		parts = append(parts, "the folder makes the same of an empty database")
	}
	a.Text = strings.Join(parts, "; ")
	switch {
	case len(d.Recorded)+len(d.Built) > 0:
		a.Word = "found"
	case a.State == rehearsal.Warn:
		a.Word = "to be looked at"
	case !d.Known && d.NotBuilt != "":
		a.State, a.Word = "", "not looked for"
	}
	for _, one := range d.Recorded {
		a.Lines = append(a.Lines, "since the last migration: "+one.String())
	}
	for _, one := range d.Built {
		a.Lines = append(a.Lines, "unlike the folder's: "+one.String())
	}
	return a
}
