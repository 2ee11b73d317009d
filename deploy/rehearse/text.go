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

// tailLines is how much of a log helps on the first screen.
const tailLines = 12

// tails are the last lines of logs, by component.
func tails(logs map[string]string) string {
	var parts []string
	for _, component := range slices.Sorted(maps.Keys(logs)) {
		lines := strings.Split(strings.TrimSpace(logs[component]), "\n")
		if lines[0] == "" {
			continue
		}
		parts = append(parts, "last lines of "+component+"'s output:\n"+strings.Join(lines[max(0, len(lines)-tailLines):], "\n"))
	}
	return strings.Join(parts, "\n\n")
}

// lastLine is the last line of a log that is not empty: in most of them, the error.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
