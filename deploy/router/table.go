package router

import (
	"crypto/rand"
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
}

type entry struct {
	slot   *slot
	weight int // percent
}

func newTable(salt string, entries ...entry) *table {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(string(a.slot.name), string(b.slot.name)) })
	return &table{salt: salt, entries: entries}
}

// pick chooses a slot. Where more than one has weight, the choice is the cohort's, and newCohort is an id that the client
// must be given because it had none.
func (t *table) pick(request *http.Request) (chosen *slot, newCohort string) {
	if only, split := t.weighted(); !split {
		return only, ""
	}
	id := cohortOf(request)
	if id == "" {
		id = rand.Text()
		newCohort = id
	}
	return t.at(share(id, t.salt)), newCohort
}

// at is the slot whose interval contains a point of [0, 100). The intervals lie side by side in the order of the slots,
// so that moving weight between two slots moves one border and no client goes against the direction of the change.
func (t *table) at(point float64) *slot {
	border := 0
	for _, e := range t.entries {
		border += e.weight
		if point < float64(border) {
			return e.slot
		}
	}
	return nil
}

// weighted says whether more than one slot has weight, and otherwise which one has.
func (t *table) weighted() (only *slot, split bool) {
	for _, e := range t.entries {
		if e.weight == 0 {
			continue
		}
		if only != nil {
			return nil, true
		}
		only = e.slot
	}
	return only, false
}

func (t *table) find(name deploy.Slot) (entry, bool) {
	for _, e := range t.entries {
		if e.slot.name == name {
			return e, true
		}
	}
	return entry{}, false
}

// without is the table's entries but one slot's.
func (t *table) without(name deploy.Slot) []entry {
	return slices.DeleteFunc(slices.Clone(t.entries), func(e entry) bool { return e.slot.name == name })
}
