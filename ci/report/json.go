package report

import (
	"encoding/json"
	"io"
)

// WriteJSON writes a report for programs. Lists are never null, so that readers need not ask.
func WriteJSON(w io.Writer, r *Report) error {
	full := *r
	full.Reasons = orEmpty(full.Reasons)
	full.Stages = orEmpty(full.Stages)
	full.Failures = orEmpty(full.Failures)
	full.Notes = orEmpty(full.Notes)
	if r.Traffic != nil {
		traffic := *r.Traffic
		traffic.Points, traffic.Marks = orEmpty(traffic.Points), orEmpty(traffic.Marks)
		full.Traffic = &traffic
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(full)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
