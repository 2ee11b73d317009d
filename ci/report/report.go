// Package report holds the one result model of the pipeline and its renderings: terminal, JSON, HTML, GitHub. Test and
// lint reports (Jest JSON, JUnit, SARIF) come in, one Report goes out, verdict first and failures before everything else.
package report

import (
	"time"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/rehearsal"
)

// Verdict is the answer of a whole run.
type Verdict string

// The verdicts. The exit codes are 0, 1 and 3.
const (
	Proven  Verdict = "proven"  // everything passed
	Refused Verdict = "refused" // the pipeline worked and says no
	Broken  Verdict = "broken"  // infrastructure failed: nothing is known about the release
)

// Report is the result of one run of the pipeline.
type Report struct {
	Verdict     Verdict   `json:"verdict"`
	Reasons     []string  `json:"reasons"` // one sentence each, most important first; empty when proven
	Application string    `json:"application"`
	Command     string    `json:"command"`     // "rehearse", "check", "test", "build"
	Release     string    `json:"release"`     // version of the new release
	Running     string    `json:"running"`     // what it was rehearsed from, and how that was found
	Environment string    `json:"environment"` // detected from branch or tag; "" when none matches
	Runner      string    `json:"runner"`      // "host" or "engine"
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"`
	CISeconds   float64   `json:"ci_seconds"` // wall time of check, test and build together
	Stages      []Stage   `json:"stages"`
	Failures    []Failure `json:"failures"`
	Traffic     *Traffic  `json:"traffic,omitempty"`
	Rollback    *Rollback `json:"rollback,omitempty"`
	Database    *Database `json:"database,omitempty"`
	Notes       []string  `json:"notes"`            // what was skipped or could not be done here, and why
	Path        string    `json:"report,omitempty"` // of the HTML file
}

// Status of a stage or step.
type Status string

// The statuses.
const (
	Running Status = "running"
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Stage is one stage of the pipeline, or one step within a stage.
type Stage struct {
	Name    string    `json:"name"`
	Status  Status    `json:"status"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Cached  bool      `json:"cached"`           // nothing was run: all of it came from an earlier run
	Detail  string    `json:"detail,omitempty"` // "42 tests", "3 statements, 12 ms"
	Steps   []Stage   `json:"steps,omitempty"`
}

// Failure is one thing that failed, with what is needed to see it again.
type Failure struct {
	Stage     string `json:"stage"` // "test"
	Step      string `json:"step"`  // "frontend/property"
	Title     string `json:"title"` // test name or first line of the error
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	Message   string `json:"message"`             // assertion and diff, or the last lines of the log
	Seed      string `json:"seed,omitempty"`      // of a property test
	Example   string `json:"example,omitempty"`   // counterexample of a property test
	Shrinks   int    `json:"shrinks,omitempty"`   // steps from the first counterexample to this one
	Replay    string `json:"replay,omitempty"`    // code that pins the example: "{ seed: 7, path: \"0:1\" }", "@reproduce_failure(…)"
	Reproduce string `json:"reproduce,omitempty"` // command to paste, from the application's root
}

// Traffic is what the clients saw during a rehearsal.
type Traffic struct {
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"` // connection errors, timeouts and unexpected statuses: dropped requests
	Clients  int     `json:"clients"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
	// Errors counts the failures by what went wrong: "status 502", "connection reset".
	Errors map[string]int `json:"errors,omitempty"`
	Points []Point        `json:"points"`
	Marks  []Mark         `json:"marks"`
}

// Point sums up one interval of the traffic to one slot.
type Point struct {
	At       float64 `json:"at"` // seconds since the traffic began; start of the interval
	Slot     string  `json:"slot"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
}

// Mark is a moment in the traffic: "switch to green", "roll back to blue".
type Mark struct {
	At    float64 `json:"at"` // seconds since the traffic began
	Label string  `json:"label"`
}

// Rollback is the drill: back to the old release and forward again.
type Rollback struct {
	Seconds float64 `json:"seconds"` // from the command to the last request on the new release
	Failed  int     `json:"failed"`  // requests dropped meanwhile
	Proven  bool    `json:"proven"`
}

// Database is the evidence of the database stage.
type Database struct {
	Backup     *backup.Backup     `json:"backup,omitempty"`
	Migrations migrations.Outcome `json:"migrations"`
	Rehearsal  *rehearsal.Report  `json:"rehearsal,omitempty"` // of the migrations, on a copy
}
