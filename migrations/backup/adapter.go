package backup

import (
	"context"
	"fmt"
	"time"
)

// Adapter is a way to back up: the dump of this package, or physical backups and snapshots that other programs make. A dump
// restores a database as it was at one moment; with a physical backup and an archive of the log, any later moment can be had
// back as well, though of the whole server.
type Adapter interface {
	// Name is for people and records: "dump", "pgbackrest".
	Name() string
	// BackUp makes a backup. The label is written beside it where there is a place for it.
	BackUp(ctx context.Context, label string) (Reference, error)
	// Check looks whether a backup could be restored, as far as that can be told without doing so. Its error is ErrNotProven
	// where it could not.
	Check(ctx context.Context, r Reference) error
	// Restore puts a backup back.
	Restore(ctx context.Context, r Reference, target Target) error
}

// Reference names a backup to the adapter that made it.
type Reference struct {
	Adapter string    `json:"adapter"`
	ID      string    `json:"id"`
	Label   string    `json:"label,omitempty"`
	At      time.Time `json:"at"`
}

func (r Reference) String() string { return r.Adapter + " " + r.ID }

// Target says where a backup is put back, and as of when.
type Target struct {
	// Place is a new database's name for a dump, a data directory for a physical backup, an instance for a managed
	// snapshot. Nothing that is there is replaced.
	Place string
	// Point is the name of a restore point to recover up to; empty for the end of the backup. A dump knows none.
	Point string
}

// Logical is the dump as an Adapter. Its references are files.
type Logical struct {
	Options  Options // Dir is needed
	Identity string  // private keys, to check and restore what is encrypted
}

var _ Adapter = Logical{}

// Name is "dump".
func (Logical) Name() string { return "dump" }

// BackUp makes and proves a backup.
func (l Logical) BackUp(ctx context.Context, label string) (Reference, error) {
	o := l.Options
	o.Label, o.Keep = label, false
	b, err := Make(ctx, o)
	return Reference{Adapter: l.Name(), ID: b.File, Label: label, At: b.Started}, err
}

// Check proves a backup again, by restoring it.
func (l Logical) Check(ctx context.Context, r Reference) error {
	o := l.Options
	_, err := Verify(ctx, VerifyOptions{
		File: r.ID, Identity: l.Identity, Dumper: o.Dumper, Cluster: o.Cluster, Scratch: o.Scratch, Temp: o.Temp, Jobs: o.Jobs,
	})
	return err
}

// Restore restores a backup into a new database on the server of the one that was backed up.
func (l Logical) Restore(ctx context.Context, r Reference, target Target) error {
	if target.Point != "" {
		return fmt.Errorf("restore %s: a dump is of one moment, and cannot be recovered up to restore point %q", r, target.Point)
	}
	o := l.Options
	_, err := Restore(ctx, RestoreOptions{
		File: r.ID, Identity: l.Identity, URL: o.URL, Into: target.Place, Dumper: o.Dumper, Temp: o.Temp, Jobs: o.Jobs,
	})
	return err
}
