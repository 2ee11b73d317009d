package migrations

import (
	"time"

	"github.com/metaextract/pipeline/migrations/evidence"
	"github.com/metaextract/pipeline/migrations/history"
)

// Outcome is what a migration run did.
type Outcome struct {
	Run     string        `json:"run"`  // by which the history knows it
	From    int64         `json:"from"` // version before; history.NoVersion (-1) for a database without migrations
	To      int64         `json:"to"`
	Applied []Applied     `json:"applied"`
	Elapsed time.Duration `json:"elapsed"` // with the wait for another migrator's lock
}

// Applied is the evidence of one migration.
type Applied struct {
	Version    int64             `json:"version"`
	Name       string            `json:"name"`
	Direction  history.Direction `json:"direction"`
	SHA256     string            `json:"sha256"`
	Statements int               `json:"statements"`
	Resumed    int               `json:"resumed,omitempty"`  // statements that an earlier run had done
	Attempts   int               `json:"attempts"`           // more than 1 when locks were waited for in vain
	Blockers   []string          `json:"blockers,omitempty"` // the sessions that held them
	Verified   int               `json:"verified"`           // checks of the migration's own that were passed
	Duration   time.Duration     `json:"duration"`           // of the attempt that succeeded, begin to commit

	evidence.Evidence
}
