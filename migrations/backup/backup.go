// Package backup makes backups of a database and proves each by restoring it: a dump of one moment, the checksums of every
// table at that moment, and a copy restored from the file that is kept, compared with both. It lists what is kept, proves
// it again, throws old ones away and puts one back.
//
// It never starts a process and never writes to the database that it backs up. What needs a process is an interface: a
// Dumper makes and loads dumps, a Cluster starts servers to throw away; internal/host and internal/engine have both.
// Deployments, rehearsals and the command line call it.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/migrations/checksum"
	"github.com/metaextract/pipeline/migrations/finding"
)

// Version is that of a server or a tool.
type Version struct {
	Major int    `json:"major"`
	Full  string `json:"full"` // as it says it: "15.18 (Debian 15.18-0+deb12u1)"
}

func (v Version) String() string { return v.Full }

// Dumper makes and loads logical backups with PostgreSQL's own tools. Connection strings are PostgreSQL URLs; no error
// holds their password, or a value from a row.
type Dumper interface {
	// Version is that of the tools that are used for a database.
	Version(ctx context.Context, url string) (Version, error)
	// Dump writes a backup of the database in pg_dump's custom format. With a snapshot, as pg_export_snapshot names it,
	// the backup is of exactly that moment (pg_dump --snapshot); it is empty for any moment.
	Dump(ctx context.Context, url, snapshot string, w io.Writer) error
	// Restore loads a backup's file into an empty database, stopping at the first error. What was loaded until then may
	// stay: the caller throws the database away.
	Restore(ctx context.Context, url, file string, load Load) error
}

// Load says how a backup is loaded.
type Load struct {
	Jobs        int  // workers at the same time
	Roles       bool // with owners and privileges: the roles that they name are there
	Tablespaces bool // where they were: the tablespaces are there
}

// Backup is a backup and the proof that it can be restored.
type Backup struct {
	ID   string `json:"id,omitempty"`   // 20261125T140502Z-k3v9x0qa: when it was begun, and chance
	File string `json:"file,omitempty"` // where it is kept; empty when it was made for the proof alone

	Database string    `json:"database,omitempty"`          // its name
	Server   Version   `json:"server,omitzero"`             // of the database
	Tool     Version   `json:"tool,omitzero"`               // that made the dump
	System   string    `json:"system_identifier,omitempty"` // of the server's cluster, where it may be read
	Timeline int       `json:"timeline,omitempty"`          // the same
	LSN      string    `json:"lsn,omitempty"`               // end of the write-ahead log right before the snapshot
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"` // with the proof

	Bytes      int64            `json:"bytes"`
	SHA256     string           `json:"sha256"`
	Recipients []string         `json:"recipients,omitempty"` // age's public keys; without any the file is not encrypted
	Tables     []checksum.Table `json:"tables"`               // as counted in the snapshot that was dumped
	Sequences  []Sequence       `json:"sequences,omitempty"`

	Proof    []Rung        `json:"proof,omitempty"` // in the order in which they were done
	Proven   bool          `json:"proven"`          // every rung holds that could be tried, those that matter among them
	Duration time.Duration `json:"duration"`        // of dump and proof
	Notes    []string      `json:"notes,omitempty"` // what differed where the proof was made, and what could not be done

	Label         string `json:"label,omitempty"`
	SchemaVersion int64  `json:"schema_version,omitempty"`
	Release       string `json:"release,omitempty"`
	RestorePoint  *Point `json:"restore_point,omitempty"`

	// Copy is the database that the proof was made in, where it was to be kept. Close it.
	Copy *Copy `json:"-"`
}

// The errors to tell apart.
var (
	// ErrNotProven: a backup was made, but what was restored from it is not what was backed up.
	ErrNotProven = errors.New("the backup is not proven")
	// ErrTool: the tools that are there cannot back up this server.
	ErrTool = errors.New("the tools do not fit the server")
)

// Options say what is backed up and where the proof is made.
type Options struct {
	URL    string // of the database
	Dumper Dumper
	// Dir keeps the backup's file and its manifest, readable by their owner alone. Without it the file is removed after
	// the proof.
	Dir string
	// Recipients are public keys of age (age1…): the file is encrypted to them, and whoever has one of their private keys
	// can read it. What is encrypted never touches the disk in the clear but in Temp, while the proof is made.
	Recipients []string

	// Cluster starts the server in which the proof is made.
	Cluster Cluster
	// Scratch stands in for it: the URL of any database on a server that takes a second copy for a while. It is never by
	// default the server that is backed up, but may name it.
	Scratch string
	// Keep leaves the database of the proof as Backup.Copy: what has been proven is also what migrations are rehearsed on.
	Keep bool

	Temp string // directory for what lives as long as a run; default the system's
	Jobs int    // workers of the restore; default as many as there are processors, at most 8

	// What the manifest says beside. RestorePoint names a restore point of the server that is made after the proof.
	Label         string
	SchemaVersion int64
	Release       string
	RestorePoint  string

	Now func() time.Time // default time.Now
}

// mostJobs bounds the workers that nobody asked for.
const mostJobs = 8

func (o *Options) check() error {
	switch {
	case o.Dumper == nil || o.URL == "":
		return errors.New("back up: no database URL or no dumper given")
	case o.Cluster == nil && o.Scratch == "":
		return errors.New("back up: no place for the proof: give a Cluster, or name a server for a scratch database in Scratch, which may be the database's own")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Jobs = workers(o.Jobs)
	return nil
}

func workers(asked int) int {
	if asked > 0 {
		return asked
	}
	return min(runtime.NumCPU(), mostJobs)
}

// Make dumps a database, and proves the dump by restoring it and comparing the copy with what the original held at the
// moment of the dump: all see the same exported snapshot, so writers meanwhile do not matter, and equal means equal.
// Reading a dump is no proof: pg_restore --list accepts truncated and altered files.
//
// With an error, the backup tells how far it came; where its file could be written whole it is kept for a look, but not
// Proven. ErrNotProven means that a rung of the ladder did not hold, and the error says which and why. ErrTool means that
// pg_dump is older than the server.
func Make(ctx context.Context, options Options) (b Backup, err error) {
	if err := options.check(); err != nil {
		return b, err
	}
	b = Backup{
		ID: newID(options.Now()), Started: options.Now().UTC(), Tables: []checksum.Table{},
		Label: options.Label, SchemaVersion: options.SchemaVersion, Release: options.Release,
	}
	m := &maker{options: options, backup: &b, begun: time.Now()}
	defer m.close(ctx, &err)
	if err := m.prepare(ctx); err != nil {
		return b, err
	}
	if err := m.ladder.climb(ctx, RungDump, func(ctx context.Context) (string, error) {
		err := m.dump(ctx)
		return fmt.Sprintf("%d bytes, %s counted", b.Bytes, finding.Count(len(b.Tables), "table")), err
	}); err != nil {
		return b, err
	}
	err = m.prove(ctx) // before b is returned: it writes into it
	return b, err
}

// maker makes one backup.
type maker struct {
	options    Options
	backup     *Backup
	begun      time.Time
	key        *key
	work       *workdir
	origin     *origin
	ladder     *ladder
	unfinished *part
}

func (m *maker) close(ctx context.Context, err *error) {
	m.stamp()
	if m.ladder != nil {
		m.ladder.leave(ctx, m.options.Keep, err)
	}
	if m.unfinished != nil {
		m.unfinished.discard()
	}
	if m.work != nil {
		m.work.remove()
	}
}

// stamp writes how long it took until now.
func (m *maker) stamp() {
	m.backup.Duration = time.Since(m.begun)
	m.backup.Finished = m.backup.Started.Add(m.backup.Duration)
}

// prepare looks at the server, its tools and the place for the proof: what cannot be proven is not dumped.
func (m *maker) prepare(ctx context.Context) (err error) {
	o, b := m.options, m.backup
	if m.key, err = newKey(o.Recipients); err != nil {
		return err
	}
	if m.work, err = newWorkdir(o.Temp); err != nil {
		return err
	}
	if o.Dir != "" {
		if err := openStore(o.Dir); err != nil {
			return err
		}
	}
	conn, err := pg.Connect(ctx, o.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	if m.origin, err = look(ctx, conn); err != nil {
		return err
	}
	b.Database, b.Server, b.System, b.Timeline = m.origin.Name, m.origin.Version, m.origin.system, m.origin.timeline
	b.Recipients = m.key.names
	m.ladder = &ladder{dumper: o.Dumper, jobs: o.Jobs, backup: b, work: m.work, identity: m.key.own}
	if b.Tool, err = m.ladder.fits(ctx, o.URL, b.Server, "the server"); err != nil {
		return err
	}
	return m.ladder.open(ctx, o.Cluster, o.Scratch, m.origin)
}

// prove climbs the ladder with the file as it is on the disk, and writes down how far it came.
func (m *maker) prove(ctx context.Context) error {
	b := m.backup
	err := m.ladder.read(ctx)
	if err == nil {
		err = m.ladder.prove(ctx, m.origin.Properties)
	}
	b.Proven = err == nil
	if b.Proven && m.options.RestorePoint != "" {
		err = m.point(ctx)
	}
	m.stamp()
	if b.File == "" {
		return err
	}
	return errors.Join(err, m.write())
}

// point makes the restore point. A server that makes none is noted.
func (m *maker) point(ctx context.Context) error {
	conn, err := pg.Connect(ctx, m.options.URL)
	if err != nil {
		return err
	}
	defer pg.HangUp(ctx, conn)
	lsn, err := RestorePoint(ctx, conn, m.options.RestorePoint)
	if errors.Is(err, ErrNoRestorePoint) {
		m.backup.Notes = append(m.backup.Notes, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	m.backup.RestorePoint = &Point{Name: m.options.RestorePoint, LSN: lsn}
	return nil
}

// write writes the manifest.
func (m *maker) write() error {
	sealed, err := m.key.seal(details{Origin: m.origin, Schema: m.ladder.schema})
	if err != nil {
		return err
	}
	kept := manifest{Backup: *m.backup, Sealed: sealed}
	return kept.write(m.backup.File)
}
