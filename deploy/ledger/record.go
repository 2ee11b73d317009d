package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// RecordKind is what a record of the audit log says.
type RecordKind string

// The kinds.
const (
	DeploymentRecord RecordKind = "deployment" // one began
	TransitionRecord RecordKind = "transition"
	LockBrokenRecord RecordKind = "lock broken"
	PlanRecord       RecordKind = "plan"
	ApprovalRecord   RecordKind = "approval"
	VerdictRecord    RecordKind = "verdict"
	KeyRecord        RecordKind = "key" // one that signs checkpoints was added or retired
)

// Record is one entry of the audit log. It has exactly one form as JSON, for its hash is of those bytes: these keys in this
// order, facts in the order of their names, no space, UTF-8, nothing escaped that need not be.
type Record struct {
	Index       int64             `json:"index"` // from 0, without gaps
	At          time.Time         `json:"at"`    // the database's clock, UTC, microseconds
	Kind        RecordKind        `json:"kind"`
	Environment string            `json:"environment,omitempty"`
	Deployment  string            `json:"deployment,omitempty"`
	Actor       string            `json:"actor,omitempty"`
	Facts       map[string]string `json:"facts,omitempty"`
}

// encode is the record's one form.
func (r Record) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	r.At = r.At.UTC().Truncate(time.Microsecond)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ParseRecord reads a record and refuses any form but its one.
func ParseRecord(text []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read record: %w", err)
	}
	again, err := r.encode()
	if err != nil {
		return r, err
	}
	if !bytes.Equal(again, text) {
		return r, errors.New("read record: it is not in the form in which records are written")
	}
	return r, nil
}

// stamp is a time within a record's facts.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
}

// asJSON is a list or map of texts, or of what has only texts and whole numbers, as JSON: they always encode.
func asJSON(list any) string {
	b, _ := json.Marshal(list)
	return string(b)
}
