package keys

import (
	"regexp"
	"strings"
)

// What of a key is shown. A key's form is a program's text and its variable parts are data, but nothing tells which is
// which; so a part is shown only if it looks like a word of a program, and not where many different ones stand in the same
// place.
const (
	longestWord = 24
	mostWords   = 8   // different ones in one place
	longestForm = 512 // bytes of a key that are looked at; Redis takes 512 MB
	mostParts   = 16
	hidden      = "*"
)

var (
	uuid    = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	part    = regexp.MustCompile(`[:/|,;#\[\]{}()<> ]+|[^:/|,;#\[\]{}()<> ]+`) // a separator, or what stands between two
	subpart = regexp.MustCompile(`[_.-]+|[^_.-]+`)
	plain   = regexp.MustCompile(`^[A-Za-z0-9_.*-]+$`)
	word    = regexp.MustCompile(`^[a-z]+(?:[A-Z][a-z]+)*$|^[A-Z][a-z]+(?:[A-Z][a-z]+)*$|^[A-Z]+$`)
	hex     = regexp.MustCompile(`^[0-9a-fA-F]{8,}$`)
	format  = regexp.MustCompile(`^[vV][0-9]{1,3}$`) // the version of a format, which keys of another version do not share
	stars   = regexp.MustCompile(`\*(?:[_.-]*\*)+`)
)

// shape is what is shown of a part at most.
func shape(text string) string {
	if !plain.MatchString(text) {
		return hidden
	}
	var b strings.Builder
	for _, p := range subpart.FindAllString(text, -1) {
		switch {
		case strings.Trim(p, "_.-") == "", format.MatchString(p):
			b.WriteString(p)
		case len(p) <= longestWord && word.MatchString(p) && !hex.MatchString(p):
			b.WriteString(p)
		default:
			b.WriteString(hidden)
		}
	}
	return stars.ReplaceAllString(b.String(), hidden)
}

// split is separators and shapes, in turn. What is too long ends in a hidden part.
func split(key string) []string {
	long := len(key) > longestForm
	parts := part.FindAllString(uuid.ReplaceAllString(key[:min(len(key), longestForm)], hidden), -1)
	if len(parts) > mostParts {
		parts, long = parts[:mostParts], true
	}
	if last := len(parts) - 1; long && !separates(parts[last]) {
		parts = parts[:last]
	}
	for i, p := range parts {
		if !separates(p) {
			parts[i] = shape(p)
		}
	}
	if long {
		parts = append(parts, hidden)
	}
	return parts
}

func separates(part string) bool { return strings.ContainsAny(part[:1], ":/|,;#[]{}()<> ") }

// families gives each key its form: "user:*:cart". Keys of one place in which more than mostWords different words stand,
// or in which words stand beside hidden parts at the end of keys (user:42, user:alice), are of one form.
func families(keys []string) map[string]string {
	parts := make([][]string, len(keys))
	for i, k := range keys {
		parts[i] = split(k)
	}
	type place struct {
		before string
		last   bool
	}
	prefixes := make([]string, len(keys))
	for level, more := 0, true; more; level++ {
		more = false
		words := map[place]map[string]struct{}{}
		at := func(i int) place { return place{prefixes[i], level == len(parts[i])-1} }
		for i, p := range parts {
			if level >= len(p) {
				continue
			}
			more = true
			if words[at(i)] == nil {
				words[at(i)] = map[string]struct{}{}
			}
			words[at(i)][p[level]] = struct{}{}
		}
		for i, p := range parts {
			if level >= len(p) {
				continue
			}
			here := words[at(i)]
			_, beside := here[hidden]
			if len(here) > mostWords || beside && at(i).last {
				p[level] = hidden
			}
			prefixes[i] += p[level]
		}
	}
	forms := make(map[string]string, len(keys))
	for i, k := range keys {
		forms[k] = prefixes[i]
	}
	return forms
}
