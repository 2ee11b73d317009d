package deploy

// State is where a deployment is. Every change is written to the Journal before it is acted on.
type State string

// The states, in the order of a deployment that succeeds; RollingBack leads to RolledBack from any of them.
const (
	Planned     State = "planned"
	BackingUp   State = "backing up"
	Rehearsing  State = "rehearsing" // the migrations, on the copy that proved the backup
	Migrating   State = "migrating"
	Starting    State = "starting"
	Probing     State = "probing"
	Verifying   State = "verifying"
	Shifting    State = "shifting"
	Baking      State = "baking"
	Retiring    State = "retiring"
	Done        State = "done"
	RollingBack State = "rolling back"
	RolledBack  State = "rolled back"
	Failed      State = "failed"
)
