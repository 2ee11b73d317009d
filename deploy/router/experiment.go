package router

import (
	"fmt"
	"sync"

	"github.com/metaextract/pipeline/deploy"
)

// VariantHeader names the variant, as experiment=variant: to the client in the answer, and to the application in the request.
const VariantHeader = "X-Pipeline-Variant"

// Experiment draws a variant for each cohort that a rule sends into it. The draw depends on the experiment's name and the
// client's id alone, so a client sees one variant for as long as the experiment has its name and weights, whatever is
// deployed meanwhile.
type Experiment struct {
	Name     string    `json:"name"`
	Variants []Variant `json:"variants"`
}

// Variant is one arm of an experiment.
type Variant struct {
	Name   string      `json:"name"`
	Weight int         `json:"weight"` // percent
	Slot   deploy.Slot `json:"slot"`
}

func (e Experiment) check() error {
	if !isName(e.Name) {
		return invalid(fmt.Sprintf("%q is not the name of an experiment", e.Name), "use letters, digits, - _ . and at most 64 of them")
	}
	wrong := func(what, do string) error { return invalid(fmt.Sprintf("experiment %s %s", e.Name, what), do) }
	if len(e.Variants) < 2 || len(e.Variants) > maxVariants {
		return wrong(fmt.Sprintf("has %d variants", len(e.Variants)), fmt.Sprintf("give it 2 to %d", maxVariants))
	}
	sum, seen := 0, map[string]bool{}
	for _, v := range e.Variants {
		switch {
		case !isName(v.Name) || seen[v.Name]:
			return wrong(fmt.Sprintf("has a variant named %q, or two of them", v.Name), "give each a name of its own")
		case v.Weight < 0 || v.Weight > 100:
			return wrong(fmt.Sprintf("gives %s the weight %d", v.Name, v.Weight), "give 0 to 100")
		case !isSlot(v.Slot):
			return wrong(fmt.Sprintf("leads %s to %q, which is not the name of a slot", v.Name, v.Slot), "use blue or green")
		}
		seen[v.Name] = true
		sum += v.Weight
	}
	if sum != 100 {
		return wrong(fmt.Sprintf("has weights that add up to %d", sum), "make them add up to 100")
	}
	return nil
}

type compiledExperiment struct {
	name     string
	salt     string
	variants []compiledVariant
}

type compiledVariant struct {
	experiment, name string
	weight           int
	slot             *slot // nil where it is not there
	exposed          *exposure
	label            string
	signature        []string // value of VariantHeader
}

func (e Experiment) compile(open func(deploy.Slot) *slot, exposed func(experiment, variant string) *exposure) *compiledExperiment {
	c := &compiledExperiment{name: e.Name, salt: "experiment\x00" + e.Name}
	for _, v := range e.Variants {
		label := e.Name + "=" + v.Name
		one := compiledVariant{experiment: e.Name, name: v.Name, weight: v.Weight, slot: open(v.Slot), label: label, signature: []string{label}}
		if exposed != nil {
			one.exposed = exposed(e.Name, v.Name)
		}
		c.variants = append(c.variants, one)
	}
	return c
}

func (c *compiledExperiment) find(name string) *compiledVariant {
	for i := range c.variants {
		if c.variants[i].name == name {
			return &c.variants[i]
		}
	}
	return nil
}

// draw is the variant of a client.
func (c *compiledExperiment) draw(id string) (*compiledVariant, uint64) {
	point, cohort := digest(id, c.salt)
	border := 0
	for i := range c.variants {
		border += c.variants[i].weight
		if point < float64(border) {
			return &c.variants[i], cohort
		}
	}
	return &c.variants[len(c.variants)-1], cohort // not reached: the weights add up to 100
}

// maxExposed bounds the memory of a variant to some 10 MB. Beyond it, exposures are no longer told apart and the count
// is marked as a lower bound.
const maxExposed = 1 << 18

// exposure counts the cohorts that saw a variant, each once since the router started.
type exposure struct {
	mu    sync.Mutex
	seen  map[uint64]struct{}
	full  bool
	asked int64 // requests
}

func (e *exposure) add(cohort uint64) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	if _, ok := e.seen[cohort]; ok {
		return
	}
	if len(e.seen) >= maxExposed {
		e.full = true
		return
	}
	if e.seen == nil {
		e.seen = map[uint64]struct{}{}
	}
	e.seen[cohort] = struct{}{}
}

func (e *exposure) status() (cohorts int, full bool, requests int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.seen), e.full, e.asked
}
