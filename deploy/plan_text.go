package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Text is the plan for people: everything that they approve.
func (p *Plan) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	from := p.From.Version
	if from == "" {
		from = "nothing"
	}
	line("Deploy %s %s to %s, where %s serves, by %s.", p.Application, p.To.Version, p.Environment, from, p.Strategy)
	line("Plan %s", p.Hash())
	if p.To.Source != "" {
		line("From %s.", p.To.Source)
	}
	for _, component := range slices.Sorted(maps.Keys(p.To.Digests)) {
		before := p.From.Digests[component]
		switch before {
		case p.To.Digests[component]:
			line("  %s %s, unchanged", component, before)
		case "":
			line("  %s %s", component, p.To.Digests[component])
		default:
			line("  %s %s, was %s", component, p.To.Digests[component], before)
		}
	}
	list := func(title string, items []string) {
		if len(items) > 0 {
			line("%s: %s.", title, strings.Join(items, ", "))
		}
	}
	list("Checked before", p.Checks)
	list("Passed before traffic", p.Gates)
	if p.Approvals.Needed > 0 {
		text := fmt.Sprintf("Needs approval by %d", p.Approvals.Needed)
		if len(p.Approvals.Of) > 0 {
			text += " of " + strings.Join(p.Approvals.Of, ", ")
		}
		if p.Approvals.Lasts != "" {
			text += ", good for " + p.Approvals.Lasts
		}
		line("%s.", text)
	}
	list("Configuration", slices.Sorted(maps.Keys(p.Config)))
	list("Secrets", slices.Sorted(maps.Keys(p.Secrets)))
	if p.Disk > 0 {
		line("Disk: %.1f MB.", float64(p.Disk)/1e6)
	}
	for _, m := range p.Migrations {
		text := fmt.Sprintf("Migration %d %s: %s, sha256 %.12s", m.Version, m.Name, m.Class, m.SHA256)
		if m.Contract != "" {
			text += "; takes away: " + m.Contract
		}
		if len(m.NeededBy) > 0 {
			text += ", needed by " + strings.Join(m.NeededBy, ", ")
		}
		line("%s.", text)
	}
	for _, f := range p.Freeze {
		line("Frozen: %s.", f)
	}
	if p.Override != nil {
		line("A freeze is overridden by %s: %s", p.Override.By, p.Override.Reason)
	}
	if p.Canary != nil {
		line("Canary: %s.", ramped(p))
	}
	line("Steps:")
	for i, s := range p.Steps {
		text := fmt.Sprintf("  %d. %s", i+1, s.State)
		if s.Slot != "" {
			text += fmt.Sprintf(" %s (%s)", s.Slot, s.Release)
		}
		if s.Bound > 0 {
			text += ", at most " + short(s.Bound)
		}
		if s.Downtime {
			text += ": DOWNTIME from here to shifting"
		}
		line("%s", text)
	}
	return b.String()
}

// ramped is a canary's ramp in a line.
func ramped(p *Plan) string {
	var parts []string
	for _, s := range p.Canary.Steps {
		parts = append(parts, fmt.Sprintf("%d %% for %s and %d users, at most %.3g %% more failing", s.Percent, short(s.Least), s.Exposure, 100*s.MaxExcess))
	}
	parts = append(parts, fmt.Sprintf("all but %d %% for %s; undecided after %s more: %s",
		p.Canary.HoldBack, short(p.Canary.Bake), short(p.Canary.Extend), p.Canary.Inconclusive))
	return strings.Join(parts, "; ")
}

// short is a duration without what is zero: 1h30m, not 1h30m0s.
func short(d time.Duration) string {
	text := d.String()
	for _, end := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, end) {
			text = text[:len(text)-2]
		}
	}
	return text
}
