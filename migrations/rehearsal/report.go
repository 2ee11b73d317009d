package rehearsal

import (
	"github.com/metaextract/pipeline/migrations/catalog"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

// Statement is what one statement did to the copy.
type Statement struct {
	Version   int64           `json:"version"`
	Migration string          `json:"migration"`
	File      string          `json:"file"`
	Line      int             `json:"line"`
	Number    int             `json:"statement"` // in its file, from 1
	SQL       string          `json:"sql"`
	Class     statement.Class `json:"class"`
	Why       string          `json:"why,omitempty"` // it is a contract step

	Lock     string          `json:"lock"`  // the strongest that it took on a table that was there; "" for none
	Locks    []evidence.Lock `json:"locks"` // those that it took, and that the migration had not taken before
	Rewrite  bool            `json:"rewrite"`
	Rewrites []string        `json:"rewrites"` // tables whose file was written anew
	Scan     bool            `json:"scan"`
	Scans    []Scan          `json:"scans"`   // tables that were read as a whole
	Changed  []Scan          `json:"changed"` // tables of which rows were updated or deleted, which stay locked until the migration commits

	WALBytes   int64   `json:"wal_bytes"`
	DiskBytes  int64   `json:"disk_bytes"` // by which the database grew, before anything was given back
	DurationMS float64 `json:"duration_ms"`
	// How long the probe waited that was kept waiting the longest while the statement ran. A lock taken by a statement before
	// it counts, for it is held until the migration commits.
	BlockedReadsMS  float64 `json:"blocked_reads_ms"`
	BlockedWritesMS float64 `json:"blocked_writes_ms"`

	Predicted Prediction `json:"predicted"`
	Verdict   Word       `json:"verdict"`
	Reason    string     `json:"reason"`

	spans []span // in which it ran
	under bool   // it ran while its transaction held locks of statements before it, stronger than those of a SELECT
}

// Word is the verdict on one statement.
type Word string

// The words.
const (
	Pass   Word = "pass"
	Warn   Word = "warn"
	Refuse Word = "refuse"
)

// Scan is a table and how many of its rows were read, or changed.
type Scan struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// Migration is what one migration did to the copy, as a whole.
type Migration struct {
	Version         int64      `json:"version"`
	Name            string     `json:"name"`
	File            string     `json:"file"`
	DurationMS      float64    `json:"duration_ms"`
	BlockedReadsMS  float64    `json:"blocked_reads_ms"` // the longest that a reader waited, from the first statement to the commit
	ReadersOf       string     `json:"readers_of,omitempty"`
	BlockedWritesMS float64    `json:"blocked_writes_ms"`
	WritersOf       string     `json:"writers_of,omitempty"`
	WALBytes        int64      `json:"wal_bytes"`
	DiskBytes       int64      `json:"disk_bytes"`
	Probed          []string   `json:"probed"`               // tables that were read and written meanwhile
	NotProbed       int        `json:"not_probed,omitempty"` // tables that were locked and not probed, for there are too many
	NoiseMS         float64    `json:"noise_ms"`             // the longest that an answer took which waited for no lock: the machine's doing, and no part of the above
	Predicted       Prediction `json:"predicted"`
}

// RoundTrip is what became of going up, down and up again.
type RoundTrip struct {
	Verdict RoundTripVerdict `json:"verdict"`
	// Down lists the migrations that were taken back, the last one first, and by what: a file, or "proposed".
	Down []Way `json:"down"`
	// Before and Again are the differences between the schema before and after the way back, and between the schema after the
	// first way up and the second.
	Before []catalog.Difference `json:"before"`
	Again  []catalog.Difference `json:"again"`
	// Data is what the way back did not bring back.
	Data         []checksum.Change `json:"data"`
	Irreversible map[int64]string  `json:"irreversible,omitempty"` // declared so, and why
	Proposed     map[string]string `json:"proposed,omitempty"`     // by the file's name: a way back that was made up, and tried
	DurationMS   float64           `json:"duration_ms"`            // of the way back
}

// Ways are the ways back that were made up, and lead back, by version.
func (r *Report) Ways() map[int64]string {
	ways := map[int64]string{}
	if r.RoundTrip.Verdict == Back {
		for _, m := range r.Migrations {
			if sql := r.RoundTrip.Proposed[DownFile(m.File)]; sql != "" {
				ways[m.Version] = sql
			}
		}
	}
	return ways
}

// RoundTripVerdict says whether the way back was tried, and leads back.
type RoundTripVerdict string

// The verdicts.
const (
	Back    RoundTripVerdict = "proven"
	NotBack RoundTripVerdict = "failed"
	NoWay   RoundTripVerdict = "not tried" // nothing could be taken back
	Partly  RoundTripVerdict = "partly"    // what comes after an irreversible migration was taken back
)

// Way is the way back of one migration.
type Way struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	By      string `json:"by"`
}

// Drift is how the schema differs from what the migrations say it is.
type Drift struct {
	// Recorded are differences from the schema that the last migration left: somebody has changed it by hand since.
	Recorded []catalog.Difference `json:"recorded"`
	Known    bool                 `json:"known"` // that schema was recorded
	// Built are differences from what the folder makes of an empty database, pending migrations included.
	Built    []catalog.Difference `json:"built"`
	NotBuilt string               `json:"not_built,omitempty"` // why it could not be made, or was not
}

// worst is the level of the worst finding about a statement, or about a migration as a whole (0).
func worst(findings []finding.Finding, version int64, number int) (finding.Finding, bool) {
	for _, f := range findings { // sorted
		if f.Version == version && f.Statement == number {
			return f, true
		}
	}
	return finding.Finding{}, false
}
