// Package corpus is what an application says to its database: the statements that the running release sends, with their
// constants taken out, as pg_stat_statements records them. The database's own statistics of production, and those of a run
// of the release's tests, are two sources; a file is the third. What checks a migration against the running release
// (packages compat and plans) starts from here.
//
// It executes none of the statements. Not seen are COPY, which is a command of its own to PostgreSQL, and whatever a
// function does within itself.
package corpus

import (
	"cmp"
	"slices"
	"strings"
)

// Hidden is the text that PostgreSQL shows of a statement of another user, unless the reader is a member of
// pg_read_all_stats, and the one kept for statements whose text the server has lost.
const Hidden = "<insufficient privilege>"

// Statement is one that an application sends, as often as it was sent.
type Statement struct {
	SQL    string `json:"sql"` // constants are $1, $2 …; no comments; Hidden where PostgreSQL does not show it
	Calls  int64  `json:"calls"`
	Rows   int64  `json:"rows"`   // read or changed, in all calls
	Source string `json:"source"` // where it was seen: "traffic", "tests"
}

// Unreadable says why nothing can be checked of the statement; "" where something can.
func (s Statement) Unreadable() string {
	if s.SQL == Hidden {
		return "PostgreSQL does not show its text: read the statements as a member of pg_read_all_stats"
	}
	return ""
}

// Merge is one set of several: equal statements are one, called as often as all of them, with all their sources. The most
// called come first.
func Merge(sets ...[]Statement) []Statement {
	at := map[string]int{}
	merged := []Statement{}
	for _, set := range sets {
		for _, s := range set {
			i, seen := at[s.SQL]
			if !seen {
				at[s.SQL] = len(merged)
				merged = append(merged, s)
				continue
			}
			merged[i].Calls += s.Calls
			merged[i].Rows += s.Rows
			merged[i].Source = sources(merged[i].Source, s.Source)
		}
	}
	slices.SortFunc(merged, func(a, b Statement) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.SQL, b.SQL))
	})
	return merged
}

// sources is a sorted list of both.
func sources(a, b string) string {
	const comma = ", "
	names := strings.Split(a+comma+b, comma)
	slices.Sort(names)
	return strings.Join(slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" }), comma)
}
