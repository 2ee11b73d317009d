package deploy

import (
	"slices"
	"time"
)

// State is where a deployment is. Every change is written to the Journal before it is acted on.
type State string

// The states, in the order of a deployment that succeeds; RollingBack leads to RolledBack from any of them.
const (
	Planned     State = "planned"
	BackingUp   State = "backing up"
	Rehearsing  State = "rehearsing" // the migrations, on the copy that proved the backup
	Migrating   State = "migrating"
	Replacing   State = "replacing" // recreate: the release that ran is stopped; there is no service until Shifting
	Starting    State = "starting"
	Probing     State = "probing"
	Verifying   State = "verifying"
	Ramping     State = "ramping"  // canary: the release has a share of the users
	Quieting    State = "quieting" // the workers of the release that ran take no new jobs
	Shifting    State = "shifting"
	Baking      State = "baking"
	Retiring    State = "retiring"
	Done        State = "done"
	RollingBack State = "rolling back"
	RolledBack  State = "rolled back"
	Failed      State = "failed"
)

// order is that of a deployment that succeeds.
var order = []State{Planned, BackingUp, Rehearsing, Migrating, Replacing, Starting, Probing, Verifying, Ramping, Quieting, Shifting, Baking, Retiring, Done}

// Ended says whether nothing follows the state.
func (s State) Ended() bool { return s == Done || s == RolledBack || s == Failed }

// before says whether a state comes earlier than another in a deployment that succeeds.
func (s State) before(other State) bool { return slices.Index(order, s) < slices.Index(order, other) }

// Strategy is how traffic moves to a new release.
type Strategy string

// The strategies.
const (
	BlueGreen Strategy = "blue-green" // all at once, the release that ran stays warm; the zero Strategy is this one
	Canary    Strategy = "canary"     // a growing share of the users, held against those on the release that ran
	Rolling   Strategy = "rolling"    // host by host of a Fleet, all or none
	Recreate  Strategy = "recreate"   // the release that ran is stopped before the new one starts, as for volumes: with downtime
)

// Bounds on the steps that nothing else bounds. They are generous: they end what hangs, they don't judge what is slow.
const (
	databaseBound = 6 * time.Hour    // a dump and its restore; a backfill
	startBound    = 15 * time.Minute // pulls images
	readyBound    = 30 * time.Second // of a unit that says none; Kamal's deploy_timeout
	stopBound     = 10 * time.Second // of a unit that says none
	slack         = 30 * time.Second // what a step may take beside what it waits for
	verifyBound   = 10 * time.Minute
	askBound      = 24 * time.Hour // for a person to decide
)

// longest is the longest of the units' own bounds of a release.
func longest(release Release, of func(Unit) time.Duration, otherwise time.Duration) time.Duration {
	bound := otherwise
	for _, unit := range release.Units {
		bound = max(bound, of(unit))
	}
	return bound
}

func starts(release Release) time.Duration {
	return longest(release, func(u Unit) time.Duration { return u.Start }, readyBound) + slack
}

func stops(release Release) time.Duration {
	return longest(release, func(u Unit) time.Duration { return u.Stop }, stopBound) + slack
}

// hasWorkers says whether a release has units that no request reaches.
func hasWorkers(release Release) bool {
	return slices.ContainsFunc(release.Units, func(u Unit) bool { return len(u.Routes) == 0 })
}
