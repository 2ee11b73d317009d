package config

import (
	"fmt"
	"strings"
)

// nearest is the candidate that word was probably meant to be, "" where none is near: a typo in every third letter, not
// more.
func nearest(word string, candidates []string) string {
	if len(word) > 64 { // no key is that long, and the comparison is quadratic
		return ""
	}
	best, bound := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bound {
			best, bound = c, d
		}
	}
	if best == "" && len(word) >= 3 { // an abbreviation or a longer form: env, environment
		for _, c := range candidates {
			if strings.HasPrefix(c, word) || len(c) >= 3 && strings.HasPrefix(word, c) {
				return c
			}
		}
	}
	return best
}

// didYouMean suggests the nearest candidate, or says what there is.
func didYouMean(word string, candidates []string, what string) string {
	if c := nearest(word, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	return what + ": " + strings.Join(candidates, ", ")
}

// distance counts the insertions, deletions, substitutions and swaps of neighbours that turn a into b (optimal string
// alignment).
func distance(a, b string) int {
	before, last, this := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			this[j] = min(last[j]+1, this[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		before, last, this = last, this, before
	}
	return last[len(b)]
}
