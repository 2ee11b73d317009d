// Package migrations applies schema changes with golang-migrate, through a database driver of our own that commits DDL
// and version together, and a source driver that reads drizzle-kit folders. It backs a database up and proves the
// backup by restoring it. It starts no process: what needs one (pg_dump, pg_restore) is the Dumper interface, which the
// runners implement. The rehearsal and the deployment call it.
package migrations

import (
	"context"
	"io"
	"time"
)

// Dumper makes and restores logical backups. Connection strings are PostgreSQL URLs.
type Dumper interface {
	// Dump writes a backup of the database in pg_dump's custom format. With a snapshot, as pg_export_snapshot names it,
	// the backup is of exactly that moment (pg_dump --snapshot); it is empty for any moment.
	Dump(ctx context.Context, url, snapshot string, w io.Writer) error
	// Restore loads a backup into an empty database, stopping at the first error. Owners and privileges need not be
	// restored: the roles may not exist where the proof is made.
	Restore(ctx context.Context, url string, r io.Reader) error
}

// Backup is a backup and the proof that it can be restored.
type Backup struct {
	File     string        `json:"file,omitempty"` // where it is kept; empty when it was made for the proof alone
	Bytes    int64         `json:"bytes"`
	SHA256   string        `json:"sha256"`
	Tables   []TableCount  `json:"tables"`   // as counted in the snapshot that was dumped
	Proven   bool          `json:"proven"`   // restored into a scratch database with equal tables
	Duration time.Duration `json:"duration"` // of dump and proof
}

// TableCount is a table's size, and a checksum over its rows that does not depend on their order.
type TableCount struct {
	Table    string `json:"table"`
	Rows     int64  `json:"rows"`
	Checksum string `json:"checksum"`
}

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
	Attempts   int           `json:"attempts"`  // more than 1 when locks were waited for in vain
	Duration   time.Duration `json:"duration"`  // of the attempt that succeeded, begin to commit
	Locks      []Lock        `json:"locks"`     // the strongest lock taken on each relation that existed before
	Rewrites   []string      `json:"rewrites"`  // tables whose file was written anew
	WALBytes   int64         `json:"wal_bytes"` // write-ahead log written, all sessions
}

// Lock is a lock mode held on a relation until commit, as pg_locks names it.
type Lock struct {
	Relation string `json:"relation"`
	Mode     string `json:"mode"`
}
