package deploy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
)

// Plan is everything that a deployment will do, as data. Approvals are bound to its hash: what isn't in it isn't approved,
// and what changes needs another approval. It holds no secret, and no value of the configuration.
type Plan struct {
	Format      int              `json:"format"` // PlanFormat
	Application string           `json:"application"`
	Environment string           `json:"environment"`
	From        PlannedRelease   `json:"from"` // serves now; empty where nothing does
	To          PlannedRelease   `json:"to"`
	Strategy    Strategy         `json:"strategy"`
	Steps       []PlannedStep    `json:"steps"`  // as Deployment.Steps tells them
	Checks      []string         `json:"checks"` // of Preflight, before the first step
	Gates       []string         `json:"gates"`  // what the release must pass before it has traffic
	Approvals   PlannedApprovals `json:"approvals"`
	Canary      *canary.Plan     `json:"canary,omitempty"`
	// Migrations are those that are pending, in order.
	Migrations []PlannedMigration `json:"migrations"`
	// Config and Secrets are fingerprints, by name: see Fingerprint.
	Config  map[string]string `json:"config"`
	Secrets map[string]string `json:"secrets"`
	// Disk is what the release needs of it, in bytes.
	Disk uint64 `json:"disk"`
	// Freeze are the windows in which nothing is deployed, and Override why one is passed over.
	Freeze   []Freeze  `json:"freeze"`
	Override *Override `json:"override,omitempty"`
}

// PlanFormat is the version of what a Plan's hash is made of.
const PlanFormat = 1

// PlannedRelease is a release as it is approved: its digests name its content.
type PlannedRelease struct {
	Version string            `json:"version"`
	Source  string            `json:"source"`
	Digests map[string]string `json:"digests"` // by component: sha256:…
}

// PlannedStep is a transition, in the order in which they happen if nothing fails.
type PlannedStep struct {
	State    State         `json:"state"`
	Slot     Slot          `json:"slot,omitempty"`
	Release  string        `json:"release"`
	Bound    time.Duration `json:"bound,omitempty"`    // how long it may take, in nanoseconds; 0 where it takes what it takes
	Downtime bool          `json:"downtime,omitempty"` // nobody is served from here to Shifting
}

// PlannedApprovals are what a plan needs before it is done.
type PlannedApprovals struct {
	Needed int      `json:"needed"`          // different people
	Of     []string `json:"of,omitempty"`    // who may; empty: anybody but who asks
	Lasts  string   `json:"lasts,omitempty"` // for people: how long one is good for
}

// PlannedMigration is a pending migration.
type PlannedMigration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	SHA256  string `json:"sha256"` // of its file
	Class   string `json:"class"`  // expand, backfill, contract, neutral
	// Contract is what it takes from older releases, and NeededBy are those known to need that still.
	Contract string   `json:"contract,omitempty"`
	NeededBy []string `json:"needed_by,omitempty"`
}

// Override is why a freeze is passed over.
type Override struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// Canonical is the one form of the plan as JSON: keys in the order of the fields, those of maps sorted, no space.
func (p *Plan) Canonical() ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	return data, nil
}

// Hash is the SHA-256 of the plan's canonical form, in hexadecimal. A plan with numbers that JSON doesn't have, which only a
// canary's could be and canary.New refuses, makes it panic: nothing may be approved by such a hash.
func (p *Plan) Hash() string {
	data, err := p.Canonical()
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Fingerprint tells whether a value has changed without telling the value: HMAC-SHA-256 with the environment's key, of the
// name and the value, in hexadecimal. Without the key it can't be guessed from either.
func Fingerprint(key []byte, name, value string) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%d:%s%s", len(name), name, value)
	return hex.EncodeToString(mac.Sum(nil))
}

// Steps are what Run and Retire would do with a release now, in order.
func (d *Deployment) Steps(release Release) []PlannedStep {
	from, slot := d.running, Blue
	if from.Slot != "" {
		slot = from.Slot.Other()
	}
	var steps []PlannedStep
	add := func(state State, slot Slot, of Release, bound time.Duration) *PlannedStep {
		steps = append(steps, PlannedStep{State: state, Slot: slot, Release: of.Version, Bound: bound})
		return &steps[len(steps)-1]
	}
	add(Planned, slot, release, 0)
	if d.Database != nil {
		for _, state := range []State{BackingUp, Rehearsing, Migrating} {
			add(state, "", release, databaseBound)
		}
	}
	second := from.Slot != ""
	replaces := second && d.Strategy == Recreate
	if replaces {
		add(Replacing, from.Slot, from.Release, stops(from.Release)).Downtime = true
	}
	add(Starting, slot, release, startBound)
	add(Probing, slot, release, starts(release))
	add(Verifying, slot, release, verifyBound)
	if second && d.Strategy == Canary {
		add(Ramping, slot, release, d.Ramp.bound())
	}
	if _, can := d.Target.(Quieter); can && second && !replaces && hasWorkers(from.Release) {
		add(Quieting, from.Slot, from.Release, slack)
	}
	add(Shifting, slot, release, d.drains()+slack)
	if d.Bake != nil || d.BakeFor > 0 {
		add(Baking, slot, release, 0)
	}
	if second {
		add(Retiring, from.Slot, from.Release, stops(from.Release))
	}
	add(Done, slot, release, 0)
	return steps
}
