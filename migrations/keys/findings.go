package keys

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/finding"
)

// Names of findings.
const (
	Flush      = "redis-flush"
	Prefix     = "redis-prefix"
	SharedKeys = "redis-shared-keys"
	KeyType    = "redis-key-type"
	NoTTL      = "redis-no-ttl"
	Unseen     = "redis-unseen"
)

// mostFamilies bounds the findings of one name.
const mostFamilies = 20

// releasePlace is what stands for the release in a declared prefix.
const releasePlace = "{release}"

// stranger owns keys with the prefix of a release that no phase is of.
const stranger = "another release"

// Options say what the application declares.
type Options struct {
	Prefix   string            // services.redis.prefix: "app:{release}:", "app:", or "" where none is declared
	Releases map[string]string // which release a phase's label is of; other phases are of none
}

// Findings is what the phases did that one release should not do to another. It fails where Options name a phase that was
// not marked.
func (w *Watch) Findings(_ context.Context, o Options) ([]finding.Finding, error) {
	for label := range o.Releases {
		if !slices.ContainsFunc(w.phases, func(p phase) bool { return p.label == label }) {
			return nil, fmt.Errorf("findings of Redis: no phase %q was marked", label)
		}
	}
	return judge(w.phases, o), nil
}

// judge says what the phases mean.
func judge(phases []phase, o Options) []finding.Finding {
	s := survey(phases, o)
	var list []finding.Finding
	for _, p := range phases {
		list = append(list, flushes(p, o)...)
	}
	list = append(list, s.misplaced()...)
	list = append(list, s.retyped()...)
	list = append(list, s.shared()...)
	list = append(list, s.eternal()...)
	for _, p := range phases {
		list = append(list, unseen(p)...)
	}
	finding.Sort(list)
	return list
}

func found(name string, level finding.Level, object, fix, message string, args ...any) finding.Finding {
	return finding.Finding{Name: name, Level: level, Basis: finding.Measured, Object: object, Fix: fix, Message: fmt.Sprintf(message, args...)}
}

func flushes(p phase, o Options) (list []finding.Finding) {
	who := "phase " + p.label
	if release := o.Releases[p.label]; release != "" {
		who += " (release " + release + ")"
	}
	for _, command := range slices.Sorted(maps.Keys(p.called)) {
		why := "it empties the cache of the running release, whose load then falls on the database"
		if command == "swapdb" || command == "debug" {
			why = "it takes the running release's keys away from under it"
		}
		list = append(list, found(Flush, finding.Refuse, "phase "+p.label,
			"let keys expire, or give the new release a prefix of its own: services.redis.prefix with "+releasePlace+" in it",
			"%s called %s %s: %s", who, strings.ToUpper(command), times(p.called[command]), why))
	}
	return list
}

func unseen(p phase) (list []finding.Finding) {
	if p.partial {
		list = append(list, found(Unseen, finding.Note, "phase "+p.label, "", "after phase %s, only a part of the keys was looked at: no more than %d, and for no longer than %s", p.label, maxKeys, maxTime))
	}
	if p.blind {
		list = append(list, found(Unseen, finding.Note, "phase "+p.label, "", "in phase %s, keys that were there before and were only overwritten may not have been seen: the server did not tell of all writes (CLIENT TRACKING)", p.label))
	}
	return list
}

// use is what one phase did with keys of one form.
type use struct {
	phase, release string
	family         string
	owner          string // the release whose prefix the keys have
	inside         bool   // they have the declared prefix, of some release
	keys, forever  int
	kinds          map[string]struct{}
	changed        map[string]struct{} // "string to hash"
}

// uses is what all phases did, in order.
type uses struct {
	options Options
	list    []*use
}

// survey sums up keys by phase and form.
func survey(phases []phase, o Options) uses {
	s := uses{options: o}
	type place struct {
		inside bool
		rest   string
	}
	var inside, outside []string
	places := map[string]place{}
	owners := map[string]string{}
	for _, p := range phases {
		for _, k := range p.written {
			owner, rest, ok := o.owner(k.name)
			places[k.name], owners[k.name] = place{ok, rest}, owner
			if ok {
				inside = append(inside, rest)
			} else {
				outside = append(outside, rest)
			}
		}
	}
	forms := map[bool]map[string]string{true: families(inside), false: families(outside)}
	for _, p := range phases {
		mine := map[string]*use{}
		for _, k := range p.written {
			at := places[k.name]
			family := forms[at.inside][at.rest]
			if at.inside {
				family = o.Prefix + family
			}
			id := owners[k.name] + "\x00" + family
			u := mine[id]
			if u == nil {
				u = &use{phase: p.label, release: o.Releases[p.label], family: family, owner: owners[k.name], inside: at.inside,
					kinds: map[string]struct{}{}, changed: map[string]struct{}{}}
				mine[id] = u
			}
			u.keys++
			if k.forever {
				u.forever++
			}
			if k.kind != "" {
				u.kinds[k.kind] = struct{}{}
			}
			if k.was != "" && k.was != k.kind {
				u.changed[k.was+" to "+k.kind] = struct{}{}
			}
		}
		for _, id := range slices.Sorted(maps.Keys(mine)) {
			s.list = append(s.list, mine[id])
		}
	}
	return s
}

// owner is the release that a key belongs to by its prefix, and the rest of the key. A key without the prefix is all rest.
func (o Options) owner(key string) (release, rest string, inside bool) {
	before, after, versioned := strings.Cut(o.Prefix, releasePlace)
	if !versioned {
		rest, inside = strings.CutPrefix(key, o.Prefix)
		return "", rest, inside
	}
	known := slices.Sorted(maps.Values(o.Releases))
	slices.Reverse(known) // the longer of two that begin alike comes first
	for _, r := range known {
		if rest, inside = strings.CutPrefix(key, before+r+after); inside {
			return r, rest, true
		}
	}
	if named, begins := strings.CutPrefix(key, before); begins && after != "" {
		if release, rest, inside = strings.Cut(named, after); inside && release != "" {
			return stranger, rest, true
		}
	}
	return "", key, false
}

func (o Options) versioned() bool { return strings.Contains(o.Prefix, releasePlace) }

// own are keys that a release need not share with another.
func (u use) own() bool { return u.owner != "" && u.owner == u.release }

// misplaced are keys without the prefix that is declared for who writes them.
func (s uses) misplaced() []finding.Finding {
	var list []finding.Finding
	if s.options.Prefix == "" {
		return nil
	}
	for _, u := range s.list {
		object := "keys " + u.family
		switch {
		case s.options.versioned() && u.release != "" && !u.inside:
			list = append(list, found(Prefix, finding.Refuse, object, "begin the keys with "+strings.ReplaceAll(s.options.Prefix, releasePlace, u.release),
				"release %s writes %s without its prefix %s (%s): the other release reads and overwrites them, whatever their format is", u.release, object, s.options.Prefix, count(u.keys)))
		case s.options.versioned() && u.release != "" && !u.own():
			list = append(list, found(Prefix, finding.Refuse, object, "take the release's own name for "+releasePlace,
				"release %s writes %s (%s) that belong to %s", u.release, object, count(u.keys), named(u.owner)))
		case !u.inside:
			list = append(list, found(Prefix, finding.Warn, object, "begin the keys with "+s.options.Prefix,
				"phase %s writes %s without the prefix %s (%s): other applications of the server may use the same names", u.phase, object, s.options.Prefix, count(u.keys)))
		}
	}
	return bounded(list)
}

func named(owner string) string {
	if owner == stranger {
		return owner
	}
	return "release " + owner
}

// share is what several phases did with keys of one form that more than one release may see.
type share struct {
	family   string
	releases []string                       // that wrote them, in order
	kinds    map[string]map[string]struct{} // by release
	changed  []string                       // "phase migrate: string to hash"
}

func (s uses) shares() []share {
	by := map[string]*share{}
	for _, u := range s.list {
		if u.own() {
			continue
		}
		h := by[u.family]
		if h == nil {
			h = &share{family: u.family, kinds: map[string]map[string]struct{}{}}
			by[u.family] = h
		}
		if len(u.changed) > 0 {
			h.changed = append(h.changed, fmt.Sprintf("in phase %s from %s", u.phase, joined(u.changed)))
		}
		if u.release == "" {
			continue
		}
		if h.kinds[u.release] == nil {
			h.kinds[u.release] = map[string]struct{}{}
			h.releases = append(h.releases, u.release)
		}
		maps.Copy(h.kinds[u.release], u.kinds)
	}
	var list []share
	for _, family := range slices.Sorted(maps.Keys(by)) {
		list = append(list, *by[family])
	}
	return list
}

// retyped are keys whose type is not what the release before takes them for.
func (s uses) retyped() []finding.Finding {
	const fix = "give the new type keys of another name, or declare a prefix with " + releasePlace
	var list []finding.Finding
	for _, h := range s.shares() {
		object := "keys " + h.family
		if len(h.changed) > 0 {
			list = append(list, found(KeyType, finding.Refuse, object, fix, "the type of %s was changed %s: a release that reads the other type gets WRONGTYPE",
				object, strings.Join(h.changed, "; ")))
			continue
		}
		for _, later := range h.releases[min(1, len(h.releases)):] {
			first := h.releases[0]
			if !covers(h.kinds[first], h.kinds[later]) {
				list = append(list, found(KeyType, finding.Refuse, object, fix, "%s are %s to release %s and %s to release %s: who reads the other's gets WRONGTYPE",
					object, joined(h.kinds[first]), first, joined(h.kinds[later]), later))
				break
			}
		}
	}
	return bounded(list)
}

// covers says that there is nothing in the second set that is not in the first.
func covers(all, some map[string]struct{}) bool {
	for k := range some {
		if _, there := all[k]; !there {
			return false
		}
	}
	return true
}

// shared are keys that several releases write.
func (s uses) shared() []finding.Finding {
	var list []finding.Finding
	for _, h := range s.shares() {
		if len(h.releases) > 1 {
			object := "keys " + h.family
			list = append(list, found(SharedKeys, finding.Note, object, "where the format has changed, put its version into the keys' name, or declare a prefix with "+releasePlace,
				"releases %s write %s: each must be able to read what the other wrote", strings.Join(h.releases, " and "), object))
		}
	}
	return bounded(list)
}

// eternal are keys that stay until somebody deletes them.
func (s uses) eternal() []finding.Finding {
	var list []finding.Finding
	last := map[string]*use{}
	for _, u := range s.list {
		if u.forever > 0 {
			last[u.family] = u
		}
	}
	for _, family := range slices.Sorted(maps.Keys(last)) {
		u := last[family]
		list = append(list, found(NoTTL, finding.Note, "keys "+family, "SET … EX seconds, or EXPIRE", "%d of %d keys %s that phase %s wrote have no TTL: nobody removes them when no release reads them any more",
			u.forever, u.keys, family, u.phase))
	}
	return bounded(list)
}

// bounded keeps the first findings of a name, and says how many more there were.
func bounded(list []finding.Finding) []finding.Finding {
	slices.SortStableFunc(list, func(a, b finding.Finding) int { return cmp.Compare(a.Level, b.Level) }) // "refuse" before "warn"
	if len(list) <= mostFamilies {
		return list
	}
	more := len(list) - mostFamilies
	list = list[:mostFamilies]
	list[mostFamilies-1].Message += fmt.Sprintf("; and %d more of this kind", more)
	return list
}

func joined(set map[string]struct{}) string { return strings.Join(slices.Sorted(maps.Keys(set)), ", ") }

func count(keys int) string {
	if keys == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", keys)
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
