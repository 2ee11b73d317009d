package rehearse

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// kinds lists what went wrong since before, most frequent first: "status 502: 4, connection reset: 1".
func kinds(now, before map[string]int) string {
	names := slices.Collect(maps.Keys(now))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(now[b]-before[b]-now[a]+before[a], strings.Compare(a, b)) })
	var parts []string
	for _, n := range names {
		if count := now[n] - before[n]; count > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", n, count))
		}
	}
	return strings.Join(parts, ", ")
}
