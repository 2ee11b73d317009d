package router

import (
	"net/http"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/deploy"
)

// table is who gets which share of new requests. It is never changed, only replaced; the slots it points to live on from
// one table to the next.
type table struct {
	salt    string
	entries []entry // ordered by slot
	routing Routing
	mirror  *mirroring

	rules []compiled // of routing
	sole  *entry     // the only entry with weight, nil where several have some or none has
	split bool
}

type entry struct {
	slot     *slot
	weight   int  // percent
	draining bool // rules and experiments lead past it
}

func (e entry) count() int {
	if e.slot == nil {
		return 0
	}
	return e.slot.flight.count()
}

func newTable(salt string, entries ...entry) *table {
	t := &table{salt: salt, entries: entries}
	t.compile(nil)
	return t
}

// clone is a table to be changed and compiled.
func (t *table) clone() *table {
	return &table{salt: t.salt, entries: slices.Clone(t.entries), routing: t.routing, mirror: t.mirror}
}

func (t *table) edit(name deploy.Slot, change func(*entry)) {
	for i := range t.entries {
		if t.entries[i].slot.name == name {
			change(&t.entries[i])
		}
	}
}

// compile prepares a table for requests. exposed gives the counter of an experiment's variant.
func (t *table) compile(exposed func(experiment, variant string) *exposure) {
	slices.SortFunc(t.entries, func(a, b entry) int { return strings.Compare(string(a.slot.name), string(b.slot.name)) })
	t.sole, t.split = nil, false
	for i := range t.entries {
		switch {
		case t.entries[i].weight == 0:
		case t.sole != nil || t.split:
			t.sole, t.split = nil, true
		default:
			t.sole = &t.entries[i]
		}
	}
	t.rules = t.routing.compile(t, exposed)
}

// By is what chose a request's slot. Only requests that came by chance are comparable between slots: nothing else was
// drawn at random from the same clients.
type By string

// What chooses a slot.
const (
	ByChance     By = "chance"     // the weights
	ByRule       By = "rule"       // a rule named the slot or the variant
	ByExperiment By = "experiment" // the draw of an experiment
)

// choice is where a request goes and why.
type choice struct {
	slot      *slot // nil: no slot has weight
	by        By
	rule      string
	variant   *compiledVariant
	cohort    uint64 // 0 where the client is not known
	newCohort string // an id that the client must be given
	weight    int    // of the slot at this moment
}

// choose picks a slot: the first rule that matches and leads to a slot that is there, otherwise the weights. Where more
// than one slot has weight, the choice is the cohort's.
func (t *table) choose(who *client) choice {
	for i := range t.rules {
		rule := &t.rules[i]
		if !rule.matches(who) {
			continue
		}
		if chosen := rule.follow(who); chosen.slot != nil {
			chosen.newCohort = who.issued
			if id := who.sent(); id != "" || who.issued != "" {
				_, chosen.cohort = digest(who.id(), t.salt)
			}
			if e, ok := t.find(chosen.slot.name); ok {
				chosen.weight = e.weight
			}
			return chosen
		}
	}
	if !t.split {
		if t.sole == nil {
			return choice{}
		}
		// A rule may have drawn: a client that it did not take must keep the id that it was drawn by, or it is drawn again.
		return choice{slot: t.sole.slot, by: ByChance, weight: t.sole.weight, newCohort: who.issued}
	}
	point, cohort := digest(who.id(), t.salt)
	e := t.at(point)
	return choice{slot: e.slot, by: ByChance, weight: e.weight, cohort: cohort, newCohort: who.issued}
}

// at is the entry whose interval contains a point of [0, 100). The intervals lie side by side in the order of the slots,
// so that moving weight between two slots moves one border and no client goes against the direction of the change.
func (t *table) at(point float64) *entry {
	border := 0
	for i := range t.entries {
		border += t.entries[i].weight
		if point < float64(border) {
			return &t.entries[i]
		}
	}
	return nil
}

func (t *table) find(name deploy.Slot) (entry, bool) {
	for _, e := range t.entries {
		if e.slot.name == name {
			return e, true
		}
	}
	return entry{}, false
}

// without is the table but one slot.
func (t *table) without(name deploy.Slot) *table {
	next := t.clone()
	next.entries = slices.DeleteFunc(next.entries, func(e entry) bool { return e.slot.name == name })
	return next
}

// pick is choose for a request.
func (t *table) pick(request *http.Request, identity *Identity, trust bool) choice {
	who := client{request: request, identity: identity, trust: trust}
	return t.choose(&who)
}
