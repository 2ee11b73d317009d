package haproxy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/deploy/router"
)

// Bounds of rules beyond those of router.Routing.
const (
	maxRules = 62 // bits of a positive number
	maxValue = 512
)

// defaultCountryHeader is where a router.Match reads countries that names no header.
const defaultCountryHeader = "CF-IPCountry"

// checkRules says what of a routing this data plane cannot do.
func (o Options) checkRules(routing router.Routing) error {
	if len(routing.Rules) > maxRules {
		return invalid(fmt.Sprintf("%d rules are too many", len(routing.Rules)), fmt.Sprintf("give HAProxy at most %d", maxRules))
	}
	percents := 0
	for _, rule := range routing.Rules {
		m := rule.Match
		for _, v := range []*router.Value{m.Header, m.Cookie} {
			if v != nil && len(v.Equals)+len(v.Prefix) > maxValue {
				return invalid(fmt.Sprintf("rule %s compares more than %d bytes", rule.Name, maxValue), "compare a prefix")
			}
		}
		if len(m.Path) > maxValue {
			return invalid(fmt.Sprintf("rule %s compares a path of more than %d bytes", rule.Name, maxValue), "give a shorter prefix")
		}
		header := m.CountryHeader
		if header == "" {
			header = defaultCountryHeader
		}
		if len(m.Countries) > 0 && !strings.EqualFold(header, o.CountryHeader) {
			return invalid(fmt.Sprintf("rule %s reads countries from %s, HAProxy was not started for that", rule.Name, header), "name that header in its options")
		}
		if slot := rule.Slot; slot != "" && !slices.Contains(slots, slot) {
			return invalid(fmt.Sprintf("rule %s leads to slot %s", rule.Name, slot), "use blue or green")
		}
		if m.Percent > 0 {
			percents++
		}
	}
	if percents > o.Percentages {
		return invalid(fmt.Sprintf("%d rules have a percentage", percents), fmt.Sprintf("start HAProxy for more than %d", o.Percentages))
	}
	return nil
}

// bits is a set of rules. The lowest bit is the first rule.
type bits int64

// rules are the entries by which HAProxy finds a request's rule. For each attribute a request's value finds the set of rules
// that it does not rule out, and the sets' intersection begins with the rule that decides: a longest-prefix look-up each,
// however many rules there are. (Lakshman and Stiliadis, "High-Speed Policy-based Packet Forwarding Using Efficient
// Multi-dimensional Range Matching", SIGCOMM 1998.)
func (t *table) rules(o Options) []entry {
	rules := t.Routing.Rules
	var all bits // that lead somewhere now
	var entries []entry
	for i, rule := range rules {
		if s := t.find(rule.Slot); s != nil && !s.Draining {
			all |= 1 << i
			entries = append(entries, entry{"rule" + number(1<<i), string(rule.Slot) + ":" + rule.Name})
		}
	}
	if all == 0 {
		return nil
	}
	entries = append(entries, entry{"rules", number(all)})
	entries = append(entries, index("path:", rules, all, func(m router.Match) (patterns []pattern, cares bool) {
		return []pattern{{pathKey(m.Path)}}, m.Path != ""
	})...)
	for i, name := range o.Headers {
		entries = append(entries, named(fmt.Sprint("h", i), rules, all, func(m router.Match) (patterns []pattern, cares bool) {
			return valuePattern(m.Header), m.Header != nil && strings.EqualFold(m.Header.Name, name)
		})...)
	}
	for i, name := range o.Cookies {
		entries = append(entries, named(fmt.Sprint("c", i), rules, all, func(m router.Match) (patterns []pattern, cares bool) {
			return valuePattern(m.Cookie), m.Cookie != nil && m.Cookie.Name == name
		})...)
	}
	entries = append(entries, named("country", rules, all, func(m router.Match) (patterns []pattern, cares bool) {
		for _, country := range m.Countries {
			patterns = append(patterns, pattern{encode(strings.ToUpper(country)) + end})
		}
		return patterns, len(m.Countries) > 0
	})...)
	return append(entries, percents(rules, all)...)
}

// end closes a value, so that a whole value is a prefix of nothing but itself.
const end = "."

// pattern is what an encoded value has to begin with.
type pattern struct{ prefix string }

func valuePattern(v *router.Value) []pattern {
	switch {
	case v == nil:
		return nil
	case v.Equals != "":
		return []pattern{{encode(v.Equals) + end}}
	default:
		return []pattern{{encode(v.Prefix)}} // any value where it is empty
	}
}

// index is an attribute's entries: for every prefix that a rule names, the rules that a value which begins with it, and
// with no longer one of them, does not rule out.
func index(key string, rules []router.Rule, all bits, want func(router.Match) ([]pattern, bool)) []entry {
	indifferent := all
	wants := map[string]bits{"": 0}
	for i, rule := range rules {
		patterns, cares := want(rule.Match)
		if !cares || all&(1<<i) == 0 {
			continue
		}
		indifferent &^= 1 << i
		for _, p := range patterns {
			wants[p.prefix] |= 1 << i
		}
	}
	var entries []entry
	for prefix := range wants {
		set := indifferent
		for other, rules := range wants {
			if strings.HasPrefix(prefix, other) {
				set |= rules
			}
		}
		entries = append(entries, entry{key + prefix, number(set)})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return entries
}

// first is what an encoded value can begin with.
const first = "0123456789ABCDEF" + end

// named is index for an attribute that a request may not have: HAProxy looks for what begins with nothing then, so that "any
// value" is written as all that a value can begin with.
func named(key string, rules []router.Rule, all bits, want func(router.Match) ([]pattern, bool)) []entry {
	return index(key+":", rules, all, func(m router.Match) (patterns []pattern, cares bool) {
		given, cares := want(m)
		for _, p := range given {
			if p.prefix != "" {
				patterns = append(patterns, p)
				continue
			}
			for _, c := range first {
				patterns = append(patterns, pattern{string(c)})
			}
		}
		return patterns, cares
	})
}

// percents are the draws of rules: which rules are left for a client beyond the share, the share, and the draw's salt.
func percents(rules []router.Rule, all bits) []entry {
	var entries []entry
	var drawn bits
	for i, rule := range rules {
		if rule.Match.Percent > 0 && all&(1<<i) != 0 {
			share := math.Round(rule.Match.Percent * whole / 100)
			entries = append(entries, entry{
				fmt.Sprint("percent", len(entries)),
				fmt.Sprintf("%d:%d:rule-%s", all&^(1<<i), int(share), rule.Name),
			})
			drawn |= 1 << i
		}
	}
	return append(entries, entry{"percents", number(drawn)})
}

func number(set bits) string { return strconv.FormatInt(int64(set), 10) }
