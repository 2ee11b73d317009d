// Package migrations applies schema changes with golang-migrate, through a database driver of our own that commits DDL
// and version together, and a source driver that reads drizzle-kit folders. It backs a database up and proves the
// backup by restoring it. It starts no process: what needs one (pg_dump, pg_restore) is the Dumper interface, which the
// runners implement. The rehearsal and the deployment call it.
package migrations

import (
	"time"

	"github.com/metaextract/pipeline/migrations/evidence"
)

// Outcome is what a migration run did.
type Outcome struct {
	From    uint64        `json:"from"` // version before; 0 for an empty database
	To      uint64        `json:"to"`
	Applied []Applied     `json:"applied"`
	Elapsed time.Duration `json:"elapsed"` // with the wait for another migrator's lock
}

// Applied is the evidence of one migration.
type Applied struct {
	Version    uint64        `json:"version"`
	Name       string        `json:"name"`
	SHA256     string        `json:"sha256"`
	Statements int           `json:"statements"`
	Attempts   int           `json:"attempts"` // more than 1 when locks were waited for in vain
	Duration   time.Duration `json:"duration"` // of the attempt that succeeded, begin to commit

	evidence.Evidence
}
