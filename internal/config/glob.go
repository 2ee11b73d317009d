package config

import (
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// isGlob says whether a pattern can match more than one name.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[{\`) }

// matchList matches a name against a list of globs, in which a leading "!" takes names out again; the last match wins.
// It returns the glob that took the name in. A * stops at a slash, a ** does not.
func matchList(patterns []string, name string) (pattern string, ok bool) {
	for _, p := range patterns {
		glob, out := strings.CutPrefix(p, "!")
		if hit, err := doublestar.Match(glob, name); err != nil || !hit {
			continue
		}
		pattern, ok = p, !out
	}
	return pattern, ok
}

// example is a name that the glob matches, for showing that two globs overlap; "" where none was found.
func example(glob string) string {
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			for i+1 < len(glob) && glob[i+1] == '*' {
				i++
			}
			b.WriteByte('1')
		case '?':
			b.WriteByte('1')
		case '\\':
			i++
			if i < len(glob) {
				b.WriteByte(glob[i])
			}
		case '[':
			end := strings.IndexByte(glob[i:], ']')
			if end < 2 {
				return ""
			}
			b.WriteByte(glob[i+1]) // a negated class fails the match below
			i += end
		case '{':
			end := strings.IndexByte(glob[i:], '}')
			if end < 0 {
				return ""
			}
			first, _, _ := strings.Cut(glob[i+1:i+end], ",")
			b.WriteString(first)
			i += end
		default:
			b.WriteByte(c)
		}
	}
	if hit, err := doublestar.Match(glob, b.String()); err != nil || !hit {
		return ""
	}
	return b.String()
}
