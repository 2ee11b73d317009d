package corpus

import (
	"slices"

	"github.com/metaextract/pipeline/migrations/statement"
)

// Without leaves out the statements that are among others, whatever constants they have: what a database's statistics know of
// the migrations that were run on it is nothing that its application sends. What cannot be parsed stays.
func Without(statements []Statement, others []string) []Statement {
	known := map[string]bool{}
	for _, sql := range others {
		if print := fingerprint(sql); print != "" {
			known[print] = true
		}
	}
	if len(known) == 0 {
		return statements
	}
	return slices.DeleteFunc(slices.Clone(statements), func(s Statement) bool { return known[fingerprint(s.SQL)] })
}

// fingerprint is "" where the statement cannot be parsed.
func fingerprint(sql string) string {
	s, err := statement.Parse(sql)
	if err != nil {
		return ""
	}
	return s.Fingerprint()
}
