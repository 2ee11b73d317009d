package corpus

import (
	"encoding/json"
	"fmt"
	"io"
)

// fileLimit bounds what is read of a file: 100,000 statements of 1 kB.
const fileLimit = 100 << 20

// Encode writes statements as a JSON array.
func Encode(w io.Writer, statements []Statement) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(statements); err != nil {
		return fmt.Errorf("write statements: %w", err)
	}
	return nil
}

// Decode reads statements that were recorded elsewhere: a JSON array of objects with "sql", and with "calls", "rows" and
// "source" where they are known. Each may hold constants, which are taken out; what reads or changes no rows is left out. The
// error names the statement, counted from 1, without its text.
func Decode(r io.Reader) ([]Statement, error) {
	decoder := json.NewDecoder(io.LimitReader(r, fileLimit))
	decoder.DisallowUnknownFields()
	var recorded []Statement
	if err := decoder.Decode(&recorded); err != nil {
		return nil, fmt.Errorf("read statements (a JSON array of {\"sql\", \"calls\", \"rows\", \"source\"} of at most %d MiB): %w", fileLimit>>20, err)
	}
	var statements []Statement
	for i, s := range recorded {
		if s.SQL == "" || s.Calls < 0 || s.Rows < 0 {
			return nil, fmt.Errorf("read statements: number %d has no sql, or counts below 0", i+1)
		}
		if s.SQL != Hidden {
			sql, ok := tidy(s.SQL)
			if !ok {
				continue
			}
			s.SQL = sql
		}
		statements = append(statements, s)
	}
	return Merge(statements), nil
}
