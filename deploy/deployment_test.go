package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
)

// world is a target, splitter, database, verifier and journal that write down what is asked of them, in one list, and
// fail where told.
type world struct {
	floor   string // a release that does not work on the schema any more
	did     []string
	failAt  string
	weights map[Slot]int
	running map[Slot]bool
	left    int
}

var errTold = errors.New("told to fail")

func (w *world) do(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	w.did = append(w.did, what)
	if what == w.failAt {
		return errTold
	}
	return nil
}

func (w *world) Start(_ context.Context, slot Slot, release Release) (Instance, error) {
	err := w.do("start %s", slot)
	if err == nil {
		w.running[slot] = true
	}
	return Instance{Slot: slot, Release: release}, err
}
func (w *world) Alive(context.Context, Slot) error { return nil }
func (w *world) Logs(_ context.Context, slot Slot) (map[string]string, error) {
	return map[string]string{"web": fmt.Sprintf("%v %v", w.running[slot], w.weights)}, nil
}
func (w *world) Close(context.Context) error                  { return nil }
func (w *world) Register(_ context.Context, i Instance) error { return w.do("register %s", i.Slot) }
func (w *world) Backup(context.Context) (backup.Backup, error) {
	return backup.Backup{}, w.do("backup")
}
func (w *world) Rehearse(context.Context) error { return w.do("rehearse") }

func (w *world) Allows(_ context.Context, release string) error {
	if w.floor == release {
		return errors.New("below the floor")
	}
	return nil
}

func (w *world) Migrate(context.Context) (migrations.Outcome, error) {
	return migrations.Outcome{}, w.do("migrate")
}
func (w *world) Ready(_ context.Context, i Instance, _ func() error) error {
	return w.do("ready %s", i.Slot)
}
func (w *world) Smoke(_ context.Context, i Instance) error { return w.do("smoke %s", i.Slot) }
func (w *world) Write(_ context.Context, e Entry) error    { return w.do("journal %s", e.State) }

func (w *world) Stop(_ context.Context, slot Slot) error {
	delete(w.running, slot)
	return w.do("stop %s", slot)
}

func (w *world) Shift(_ context.Context, weights map[Slot]int) error {
	for slot := range weights {
		if err := w.do("shift %s", slot); err != nil {
			return err
		}
	}
	w.weights = weights
	return nil
}

func (w *world) Drain(_ context.Context, slot Slot) (int, error) {
	return w.left, w.do("drain %s", slot)
}

func (w *world) Remove(_ context.Context, slot Slot) error {
	if w.weights[slot] > 0 {
		return fmt.Errorf("remove %s with weight", slot)
	}
	return w.do("remove %s", slot)
}

func newWorld() (*world, *Deployment) {
	w := &world{weights: map[Slot]int{}, running: map[Slot]bool{}}
	return w, &Deployment{ID: "test", Target: w, Splitter: w, Database: w, Verifier: w, Journal: w,
		Bake: func(context.Context) error { return w.do("bake") }}
}

func launched(t *testing.T) (*world, *Deployment) {
	t.Helper()
	w, d := newWorld()
	require.NoError(t, d.Launch(t.Context(), Blue, Release{Version: "v1"}))
	w.did = nil
	return w, d
}

func TestADeploymentThatSucceedsGoesThroughEveryStateInOrder(t *testing.T) {
	w, d := launched(t)
	require.NoError(t, d.Run(t.Context(), Release{Version: "v2"}))
	require.NoError(t, d.RollBack(t.Context()))
	require.NoError(t, d.RollBack(t.Context()))
	require.NoError(t, d.Retire(t.Context()))
	assert.Equal(t, strings.Split(strings.TrimSpace(`
journal planned
journal backing up
backup
journal rehearsing
rehearse
journal migrating
migrate
journal starting
start green
journal probing
ready green
journal verifying
smoke green
register green
journal shifting
shift green
drain blue
journal baking
bake
journal rolling back
shift blue
drain green
journal rolling back
shift green
drain blue
journal retiring
remove blue
stop blue
journal done`), "\n"), w.did)
	assert.Equal(t, "v2", d.Serving().Release.Version)
}

func TestWhateverFailsTheOldReleaseServesAndTheNewSlotIsEmpty(t *testing.T) {
	w, d := launched(t)
	require.NoError(t, d.Run(t.Context(), Release{Version: "v2"}))
	for _, point := range w.did {
		t.Run("fails at "+point, func(t *testing.T) {
			w, d := launched(t)
			w.failAt = point
			err := d.Run(t.Context(), Release{Version: "v2"})
			require.ErrorIs(t, err, errTold)
			assert.Equal(t, map[Slot]int{Blue: 100}, w.weights, "traffic")
			assert.Equal(t, map[Slot]bool{Blue: true}, w.running, "running slots")
			assert.Equal(t, "v1", d.Serving().Release.Version)
			assert.Error(t, d.RollBack(t.Context()), "there is nothing to roll back to")
		})
	}
}

func TestAFirstDeploymentThatFailsLeavesNothing(t *testing.T) {
	for _, point := range []string{"start blue", "ready blue", "register blue", "shift blue"} {
		t.Run("fails at "+point, func(t *testing.T) {
			w, d := newWorld()
			w.failAt = point
			require.ErrorIs(t, d.Launch(t.Context(), Blue, Release{Version: "v1"}), errTold)
			assert.Empty(t, w.running)
			assert.Empty(t, d.Serving().Slot)
		})
	}
}

func TestAFailureSaysInWhichStateAndSlot(t *testing.T) {
	w, d := launched(t)
	w.failAt = "smoke green"
	err := d.Run(t.Context(), Release{Version: "v2"})
	var step *StepError
	require.ErrorAs(t, err, &step)
	assert.Equal(t, Verifying, step.State)
	assert.EqualError(t, err, "verifying (slot green): told to fail")
}

func TestTheLogsOfASlotAreReadWhenItsUsersHaveLeft(t *testing.T) {
	w, d := launched(t)
	w.failAt = "bake"
	var step *StepError
	require.ErrorAs(t, d.Run(t.Context(), Release{Version: "v2"}), &step)
	assert.Equal(t, map[string]string{"web": "true map[blue:100]"}, step.Logs)
}

func TestRequestsThatDoNotEndAreSaidAndNotCutOff(t *testing.T) {
	w, d := launched(t)
	w.left = 3
	err := d.Run(t.Context(), Release{Version: "v2"})
	assert.ErrorContains(t, err, "drain blue: 3 requests still in flight")
	assert.Equal(t, map[Slot]int{Blue: 100}, w.weights)
}

func TestACanceledRunIsPutBack(t *testing.T) {
	w, d := launched(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.Bake = func(ctx context.Context) error { cancel(); return ctx.Err() }
	require.ErrorIs(t, d.Run(ctx, Release{Version: "v2"}), context.Canceled)
	assert.Equal(t, map[Slot]int{Blue: 100}, w.weights)
	assert.Equal(t, map[Slot]bool{Blue: true}, w.running)
}

func TestAJournalCutOffInTheMiddleOfALineReadsUpToThere(t *testing.T) {
	entries, err := ReadJournal(strings.NewReader(`{"state":"planned","release":"v2"}` + "\n" + `{"state":"migra`))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, Planned, entries[0].State)
	_, err = ReadJournal(strings.NewReader("{}\nnonsense\n"))
	assert.ErrorContains(t, err, "journal line 2")
}

func TestARollbackBelowTheSchemasFloorIsRefusedBeforeTrafficMoves(t *testing.T) {
	w, d := launched(t)
	require.NoError(t, d.Run(t.Context(), Release{Version: "v2"}))
	w.floor, w.did = "v1", nil
	require.ErrorContains(t, d.RollBack(t.Context()), "UNSAFE: below the floor")
	assert.Empty(t, w.did)
	assert.Equal(t, map[Slot]int{Green: 100}, w.weights)
}
