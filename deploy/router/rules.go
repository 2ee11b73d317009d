package router

import (
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/deploy"
)

// Routing is who does not go where the weights say. Rules are asked in order; the first that matches decides.
type Routing struct {
	Rules       []Rule       `json:"rules"`
	Experiments []Experiment `json:"experiments,omitempty"`
}

// Rule sends a segment of the clients to a slot or into an experiment. A rule whose slot is not registered or is being
// drained is passed over.
type Rule struct {
	Name       string      `json:"name"`
	Match      Match       `json:"match"`
	Slot       deploy.Slot `json:"slot,omitempty"`
	Experiment string      `json:"experiment,omitempty"`
	Variant    string      `json:"variant,omitempty"` // of Experiment: without a draw, and without counting as exposed
}

// Match is what a request must have: all that is given. An empty Match is every request.
type Match struct {
	Header *Value `json:"header,omitempty"`
	Cookie *Value `json:"cookie,omitempty"`
	Path   string `json:"path,omitempty"` // prefix of whole segments: /api matches /api/x, not /apix
	// Countries are two-letter codes as the header gives them that a proxy in front sets, by default CF-IPCountry. The
	// router knows nothing of geography, and a client that reaches it directly can claim any country.
	Countries     []string `json:"countries,omitempty"`
	CountryHeader string   `json:"country_header,omitempty"`
	// Percent is a share of the cohorts, drawn by the rule's name. Zero is all of them.
	Percent float64 `json:"percent,omitempty"`
}

// Value is a named header or cookie, with any value where none is given.
type Value struct {
	Name   string `json:"name"`
	Equals string `json:"equals,omitempty"`
	Prefix string `json:"prefix,omitempty"`
}

// Bounds of a Routing: every request walks through it.
const (
	maxRules       = 64
	maxExperiments = 16
	maxVariants    = 8
	maxName        = 64
	maxCountries   = 256
)

const defaultCountryHeader = "Cf-Ipcountry"

func (v Routing) check() error {
	if len(v.Rules) > maxRules || len(v.Experiments) > maxExperiments {
		return invalid(fmt.Sprintf("%d rules and %d experiments are too many", len(v.Rules), len(v.Experiments)),
			fmt.Sprintf("give at most %d and %d", maxRules, maxExperiments))
	}
	variants := map[string]map[string]bool{}
	for _, e := range v.Experiments {
		if variants[e.Name] != nil {
			return invalid(fmt.Sprintf("experiment %s is there twice", e.Name), "give each a name of its own")
		}
		if err := e.check(); err != nil {
			return err
		}
		variants[e.Name] = map[string]bool{}
		for _, variant := range e.Variants {
			variants[e.Name][variant.Name] = true
		}
	}
	seen := map[string]bool{}
	for _, rule := range v.Rules {
		if seen[rule.Name] {
			return invalid(fmt.Sprintf("rule %s is there twice", rule.Name), "give each a name of its own")
		}
		seen[rule.Name] = true
		if err := rule.check(variants); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) check(variants map[string]map[string]bool) error {
	if !isName(r.Name) {
		return invalid(fmt.Sprintf("%q is not the name of a rule", r.Name), "use letters, digits, - _ . and at most 64 of them")
	}
	wrong := func(what, do string) error { return invalid(fmt.Sprintf("rule %s %s", r.Name, what), do) }
	switch {
	case (r.Slot == "") == (r.Experiment == ""):
		return wrong("leads to a slot and an experiment, or to neither", "give one of slot and experiment")
	case r.Variant != "" && r.Experiment == "":
		return wrong("has a variant but no experiment", "name the experiment too")
	case r.Slot != "" && !isSlot(r.Slot):
		return wrong(fmt.Sprintf("leads to %q, which is not the name of a slot", r.Slot), "use blue or green")
	case r.Experiment != "" && variants[r.Experiment] == nil:
		return wrong("leads to experiment "+r.Experiment+", which is not there", "define it under experiments")
	case r.Variant != "" && !variants[r.Experiment][r.Variant]:
		return wrong("leads to variant "+r.Variant+", which experiment "+r.Experiment+" does not have", "use one of its variants")
	}
	m := r.Match
	switch {
	case m.Path != "" && !strings.HasPrefix(m.Path, "/"):
		return wrong(fmt.Sprintf("matches the path %q", m.Path), "begin it with a slash")
	case m.Percent < 0 || m.Percent > 100 || m.Percent != m.Percent:
		return wrong(fmt.Sprintf("matches %v %%", m.Percent), "give more than 0 and at most 100, or leave it out")
	case len(m.Countries) > maxCountries:
		return wrong(fmt.Sprintf("matches %d countries", len(m.Countries)), "there are fewer")
	case m.CountryHeader != "" && !isToken(m.CountryHeader):
		return wrong(fmt.Sprintf("reads countries from %q", m.CountryHeader), "give the name of a header")
	}
	for _, v := range []*Value{m.Header, m.Cookie} {
		if v != nil && !isToken(v.Name) {
			return wrong(fmt.Sprintf("matches a header or cookie named %q", v.Name), "give its name")
		}
		if v != nil && v.Equals != "" && v.Prefix != "" {
			return wrong("wants a value and a prefix of "+v.Name, "give one of equals and prefix")
		}
	}
	return nil
}

// leadsTo says whether a rule or an experiment names the slot.
func (v Routing) leadsTo(name deploy.Slot) bool {
	for _, rule := range v.Rules {
		if rule.Slot == name {
			return true
		}
	}
	for _, e := range v.Experiments {
		for _, variant := range e.Variants {
			if variant.Slot == name {
				return true
			}
		}
	}
	return false
}

// compiled is a rule with what it leads to resolved.
type compiled struct {
	Rule
	header, country string // canonical names
	slot            *slot  // nil where it is not there
	experiment      *compiledExperiment
	variant         *compiledVariant
}

func (v Routing) compile(t *table, exposed func(experiment, variant string) *exposure) []compiled {
	open := func(name deploy.Slot) *slot {
		if e, ok := t.find(name); ok && !e.draining {
			return e.slot
		}
		return nil
	}
	experiments := map[string]*compiledExperiment{}
	for _, e := range v.Experiments {
		experiments[e.Name] = e.compile(open, exposed)
	}
	var rules []compiled
	for _, rule := range v.Rules {
		c := compiled{Rule: rule, slot: open(rule.Slot), experiment: experiments[rule.Experiment]}
		if rule.Match.Header != nil {
			c.header = textproto.CanonicalMIMEHeaderKey(rule.Match.Header.Name)
		}
		c.country = defaultCountryHeader
		if rule.Match.CountryHeader != "" {
			c.country = textproto.CanonicalMIMEHeaderKey(rule.Match.CountryHeader)
		}
		if rule.Variant != "" {
			c.variant = c.experiment.find(rule.Variant)
		}
		rules = append(rules, c)
	}
	return rules
}

// active says whether the rule leads anywhere now.
func (c *compiled) active() bool {
	switch {
	case c.variant != nil:
		return c.variant.slot != nil
	case c.experiment != nil:
		return slices.ContainsFunc(c.experiment.variants, func(v compiledVariant) bool { return v.slot != nil })
	default:
		return c.slot != nil
	}
}

func (c *compiled) matches(who *client) bool {
	m, request := &c.Match, who.request
	if m.Path != "" && !hasPrefix(request.URL.Path, m.Path) {
		return false
	}
	if m.Header != nil && !m.Header.among(request.Header[c.header]) {
		return false
	}
	if m.Cookie != nil && !m.Cookie.in(request.Header) {
		return false
	}
	if len(m.Countries) > 0 {
		country := request.Header.Get(c.country)
		if !slices.ContainsFunc(m.Countries, func(one string) bool { return strings.EqualFold(one, country) }) {
			return false
		}
	}
	return m.Percent == 0 || share(who.id(), "rule\x00"+c.Name) < m.Percent
}

// follow is the slot that the rule leads to, none where it is not there.
func (c *compiled) follow(who *client) choice {
	switch {
	case c.variant != nil:
		return choice{slot: c.variant.slot, by: ByRule, rule: c.Name, variant: c.variant}
	case c.experiment != nil:
		variant, cohort := c.experiment.draw(who.id())
		if variant.slot == nil {
			return choice{}
		}
		variant.exposed.add(cohort)
		return choice{slot: variant.slot, by: ByExperiment, rule: c.Name, variant: variant}
	default:
		return choice{slot: c.slot, by: ByRule, rule: c.Name}
	}
}

func (v *Value) accepts(value string) bool {
	switch {
	case v.Equals != "":
		return value == v.Equals
	case v.Prefix != "":
		return strings.HasPrefix(value, v.Prefix)
	default:
		return true
	}
}

func (v *Value) among(values []string) bool { return slices.ContainsFunc(values, v.accepts) }

func (v *Value) in(header http.Header) bool {
	value := cookieValue(header, v.Name)
	return value != "" && v.accepts(value)
}

// hasPrefix compares whole segments.
func hasPrefix(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimRight(prefix, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

func isName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// isToken says whether a name can be a header's or a cookie's (RFC 9110 section 5.6.2).
func isToken(name string) bool {
	return name != "" && len(name) <= 2*maxName && !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

func isSlot(name deploy.Slot) bool {
	return name != "" && len(name) <= maxSlotName && !strings.ContainsFunc(string(name), func(c rune) bool {
		return c <= ' ' || c == '/' || c == '?' || c == '#' || c == '"' || c == '\\' || c == 0x7f
	})
}
