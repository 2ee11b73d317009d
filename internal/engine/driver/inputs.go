package driver

import (
	"slices"
	"strings"
)

// Excludes translates a step's input patterns into what the engine's filter excludes. The engine reads such a list as
// .dockerignore does: the last pattern that matches decides, "!" takes back in. So everything is excluded first, and what
// the step takes in is an exception.
func Excludes(inputs []string) []string {
	excludes := []string{"**"}
	for _, pattern := range inputs {
		bare, out := strings.CutPrefix(pattern, "!")
		for _, p := range alternatives(bare) {
			p = strings.ReplaceAll(p, "[!", "[^")
			if !out {
				p = "!" + p
			}
			excludes = append(excludes, p)
		}
	}
	return excludes
}

// alternatives writes out the braces of a doublestar pattern, which .dockerignore does not know: a.{js,ts} is a.js and
// a.ts. A brace that is not closed stands for itself.
func alternatives(pattern string) []string {
	open, depth := -1, 0
	var cuts []int // the commas between the alternatives of the first brace
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '{':
			if depth == 0 {
				open = i
			}
			depth++
		case c == ',' && depth == 1:
			cuts = append(cuts, i)
		case c == '}' && depth > 0:
			depth--
			if depth > 0 {
				continue
			}
			var all []string
			from := open + 1
			for _, cut := range append(cuts, i) {
				all = append(all, alternatives(pattern[:open]+pattern[from:cut]+pattern[i+1:])...)
				from = cut + 1
			}
			return slices.Compact(all)
		}
	}
	return []string{pattern}
}
