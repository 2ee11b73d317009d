package corpus

import (
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/history"
	"github.com/metaextract/pipeline/migrations/statement"
)

// applications says whether a statement may be an application's own: not one that reads only what PostgreSQL itself keeps,
// as drivers, monitoring and pg_dump do, and not one on the pipeline's tables. What cannot be parsed may be.
func applications(sql string) bool {
	if strings.Contains(sql, extension) {
		return false
	}
	s, err := statement.Parse(sql)
	if err != nil {
		return true
	}
	tables := s.Tables()
	if slices.ContainsFunc(tables, func(t statement.Name) bool { return slices.Contains(history.Names, t.Name) }) {
		return false
	}
	return len(tables) == 0 || slices.ContainsFunc(tables, func(t statement.Name) bool { return !systems(t) })
}

// systems says whether a relation is PostgreSQL's own. Its names without a schema begin with pg_, which an application's
// tables may also do; those are rarer than the tools that do not write pg_catalog.
func systems(t statement.Name) bool {
	switch t.Schema {
	case "pg_catalog", "information_schema", "pg_toast":
		return true
	case "":
		return strings.HasPrefix(t.Name, "pg_")
	}
	return false
}
