// Package deploy is the release state machine: what happens between a built release and a proven one, in which order,
// and what each step needs from the world. It starts no process and knows no engine: a Target runs slots, a Splitter
// moves traffic, a Database is backed up and migrated, a Journal remembers.
//
// A Plan is all that a deployment will do, as data; approvals are bound to its hash, Preflight says all that is wrong with
// it at once. A Deployment does it: Run and Retire, or RollBack. One whose process died is finished by Resume, or taken back
// by TakeBack, from what its journal says.
package deploy

import (
	"context"
	"net/url"
	"time"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
)

// Slot is one of the two places a release can run in.
type Slot string

// The slots of a blue-green deployment.
const (
	Blue  Slot = "blue"
	Green Slot = "green"
)

// Other is the opposite slot.
func (s Slot) Other() Slot {
	if s == Blue {
		return Green
	}
	return Blue
}

// Release is a built version of the application.
type Release struct {
	Version string // what its version path must answer: "v1.4.0", "3f2a9c1"
	Source  string // for people: "tag v1.4.0", "directory testdata/metaextract"
	Units   []Unit
}

// Unit is one served component of a release: what a target starts in a slot.
type Unit struct {
	Component string
	// Artifact is a reference that the target understands: a directory for local processes, an image for docker.
	Artifact string
	// Dir is the working directory within the artifact.
	Dir     string
	Command []string // $HOST and $PORT are replaced by the target; empty where Static is set
	Static  string   // directory of files to serve, within Dir
	Env     map[string]string
	Routes  []string // path prefixes, "/" for everything
	Port    int      // fixed port, 0 for any
	Health  string
	Ready   string
	Version string
	Start   time.Duration // bound on becoming ready
	Stop    time.Duration // SIGTERM to SIGKILL
}

// Target runs releases in slots. Implementations are safe for concurrent use and pass the suite in deploy/target/targettest.
//
// The interface asks for nothing that a Kubernetes Deployment or a Railway service could not give: start a copy of a
// release beside the running one, say where it listens, take it away.
type Target interface {
	// Start starts every unit of the release in the slot, with no traffic, and returns once each has an address; it does
	// not wait for readiness. A slot that already runs something is an error. After an error nothing of the slot is left.
	Start(ctx context.Context, slot Slot, release Release) (Instance, error)
	// Alive reports an error that says why when a unit of the slot has ended (exit code and last lines of its log).
	Alive(ctx context.Context, slot Slot) error
	// Logs returns the last lines of each unit's output.
	Logs(ctx context.Context, slot Slot) (map[string]string, error)
	// Stop ends the slot gracefully: SIGTERM, then SIGKILL after each unit's Stop. Stopping an empty slot is no error.
	Stop(ctx context.Context, slot Slot) error
	// Close stops everything the target started.
	Close(ctx context.Context) error
}

// Inspector is a Target whose slots outlive the command that started them. To resume a deployment takes one.
type Inspector interface {
	Target
	// Running returns what runs in a slot; found is false where nothing does, or only a part of what was to be started. Of
	// its Release only the Version has to be set.
	Running(ctx context.Context, slot Slot) (instance Instance, found bool, err error)
}

// Quieter is a Target that can tell the units without routes, workers, to take no new jobs. Of one that can't, the workers
// of both releases work until the slot is stopped.
type Quieter interface {
	Target
	// Quiet asks the slot's workers to take no new jobs and returns once they were asked; it doesn't wait for those they
	// have: Stop does, with each unit's own bound. Asking again, or where nothing runs, is no error.
	Quiet(ctx context.Context, slot Slot) error
	// Wake makes workers that were asked take jobs again, by a restart where they can't otherwise. Waking those that are
	// awake, or where nothing runs, is no error.
	Wake(ctx context.Context, slot Slot) error
}

// Instance is a release running in a slot.
type Instance struct {
	Slot      Slot
	Release   Release
	Endpoints map[string]*url.URL // by component: http://127.0.0.1:41873
	// Hosts is the instance on each host of a Fleet, by name; Endpoints are those of the first then.
	Hosts map[string]Instance
}

// Splitter decides which slot a request goes to. deploy/router implements it.
type Splitter interface {
	// Register makes an instance known at weight 0.
	Register(ctx context.Context, instance Instance) error
	// Shift sets the share of new requests that each slot gets, in percent; slots not named get 0. The change is atomic.
	Shift(ctx context.Context, weights map[Slot]int) error
	// Drain waits until no request is in flight on the slot, or until ctx ends, and returns how many were left.
	Drain(ctx context.Context, slot Slot) (left int, err error)
	// Remove forgets a slot. It must have weight 0.
	Remove(ctx context.Context, slot Slot) error
}

// Database is the application's database as a deployment sees it.
type Database interface {
	// Backup makes a backup and proves it by restoring it.
	Backup(ctx context.Context) (backup.Backup, error)
	// Rehearse runs the pending migrations on the copy that proved the backup. Its error says why they must not run.
	Rehearse(ctx context.Context) error
	// Migrate applies the pending migrations.
	Migrate(ctx context.Context) (migrations.Outcome, error)
	// Allows says whether a release works on the schema as it is: the error names the migration after which it does not.
	Allows(ctx context.Context, release string) error
}

// Verifier decides whether an instance may have traffic.
type Verifier interface {
	// Ready waits until every unit of the instance is ready and serves the release's version, calling alive meanwhile
	// to notice a unit that ended.
	Ready(ctx context.Context, instance Instance, alive func() error) error
	// Smoke sends each request of the smoke test once to the instance itself, past the splitter.
	Smoke(ctx context.Context, instance Instance) error
}
