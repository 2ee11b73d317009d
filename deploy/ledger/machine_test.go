package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/history"
)

// world is a target, a splitter, a verifier and a database that write down what they are asked to do, and may be made to
// do something else at one of these.
type world struct {
	did   []string
	on    string
	then  func(ctx context.Context) error
	floor error // why the release before doesn't work on the schema
}

func (w *world) do(ctx context.Context, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	w.did = append(w.did, what)
	if what != w.on {
		return nil
	}
	return w.then(ctx)
}

func (w *world) Start(ctx context.Context, slot deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	return deploy.Instance{Slot: slot, Release: release, Endpoints: map[string]*url.URL{}}, w.do(ctx, "start %s in %s", release.Version, slot)
}
func (w *world) Alive(context.Context, deploy.Slot) error { return nil }
func (w *world) Logs(context.Context, deploy.Slot) (map[string]string, error) {
	return nil, nil
}
func (w *world) Stop(ctx context.Context, slot deploy.Slot) error { return w.do(ctx, "stop %s", slot) }
func (w *world) Close(context.Context) error                      { return nil }
func (w *world) Register(ctx context.Context, i deploy.Instance) error {
	return w.do(ctx, "register %s", i.Slot)
}
func (w *world) Shift(ctx context.Context, weights map[deploy.Slot]int) error {
	return w.do(ctx, "shift %v", weights)
}
func (w *world) Drain(ctx context.Context, slot deploy.Slot) (int, error) {
	return 0, w.do(ctx, "drain %s", slot)
}
func (w *world) Remove(ctx context.Context, slot deploy.Slot) error {
	return w.do(ctx, "remove %s", slot)
}
func (w *world) Ready(ctx context.Context, i deploy.Instance, _ func() error) error {
	return w.do(ctx, "probe %s", i.Slot)
}
func (w *world) Smoke(ctx context.Context, i deploy.Instance) error {
	return w.do(ctx, "verify %s", i.Slot)
}
func (w *world) Backup(ctx context.Context) (backup.Backup, error) {
	return backup.Backup{}, w.do(ctx, "back up")
}
func (w *world) Rehearse(ctx context.Context) error { return w.do(ctx, "rehearse") }
func (w *world) Migrate(ctx context.Context) (migrations.Outcome, error) {
	return migrations.Outcome{}, w.do(ctx, "migrate")
}
func (w *world) Allows(context.Context, string) error { return w.floor }

// rebuilt resolves a release anew.
func rebuilt(_ context.Context, r Release) (deploy.Release, error) {
	return deploy.Release{Version: r.Version, Source: r.Digests["web"]}, nil
}

// command is a deployment of a release that has begun in the ledger.
func (w *world) command(t *testing.T, l *Ledger, lease *Lease, d Deployment) *deploy.Deployment {
	t.Helper()
	require.NoError(t, l.RecordRelease(background, Release{Version: d.Release, Digests: map[string]string{"web": "sha256:" + d.Release}}))
	d.By = "ann"
	require.NoError(t, lease.Begin(background, d))
	return &deploy.Deployment{ID: d.ID, Target: w, Splitter: w, Verifier: w, Database: w, Journal: lease, Releases: l.Releases(lease.Environment, rebuilt)}
}

// first is a world in which v1 serves.
func first(t *testing.T, l *Ledger, lease *Lease) (*world, deploy.Instance) {
	t.Helper()
	w := &world{}
	d := w.command(t, l, lease, Deployment{ID: "d1", Release: "v1", Kind: Deploy})
	require.NoError(t, d.Run(background, deploy.Release{Version: "v1"}))
	require.NoError(t, d.Retire(background))
	w.did = nil
	return w, d.Serving()
}

// Whatever is under way when the lock is broken ends; then nothing is done any more, and nothing is cleaned up.
func TestDeploymentWhoseLockIsBrokenDoesNothingMore(t *testing.T) {
	for _, test := range []struct {
		at    string
		after []string // what belongs to the same step
	}{
		{"back up", nil},
		{"migrate", nil},
		{"start v2 in green", nil},
		{"probe green", nil},
		{"shift map[green:100]", []string{"drain blue"}},
		{"drain blue", nil},
		{"remove blue", []string{"stop blue"}},
	} {
		for name, fails := range map[string]bool{"which works": false, "which fails": true} {
			t.Run("during "+test.at+", "+name, func(t *testing.T) {
				l, address := fresh(t)
				lease := acquire(t, l, "production")
				w, serving := first(t, l, lease)
				d := w.command(t, l, lease, Deployment{ID: "d2", Release: "v2", From: "v1", Kind: Deploy})
				d.Adopt(serving)
				written := ""
				count := func() string { return pgtest.Value(t, address, "SELECT count(*) FROM pipeline.transitions") }
				w.on, w.then = test.at, func(ctx context.Context) error {
					require.NoError(t, l.Break(ctx, "production", lease.Token, "bob", "the runner hangs"))
					written = count()
					if fails {
						return errors.New("it hangs")
					}
					return nil
				}
				err := d.Run(background, deploy.Release{Version: "v2"})
				retires := err == nil
				if retires {
					err = d.Retire(background)
				}
				if fails {
					require.ErrorContains(t, err, "it hangs")
				}
				if !retires || !fails { // a Retire that fails has nothing to take back, and doesn't hear of the lock
					var lost deploy.LostError
					require.ErrorAs(t, err, &lost)
					assert.True(t, lost.LockLost())
				}
				assert.Equal(t, written, count(), "nothing is written")
				last := len(w.did) - 1
				for w.did[last] != test.at {
					last--
				}
				after := test.after
				if fails {
					after = nil
				}
				assert.Equal(t, append([]string{test.at}, after...), w.did[last:])
			})
		}
	}
}

// A step that waits is ended by the context of the lease; the deployment knows why, and doesn't take anything back.
func TestDeploymentThatWaitsHearsOfItsBrokenLock(t *testing.T) {
	address := pgtest.Database(t)
	options := quick
	options.TTL = 12 * time.Second // a heartbeat every two; the lease doesn't run out meanwhile
	l := open(t, address, options)
	lease := acquire(t, l, "production")
	w, serving := first(t, l, lease)
	d := w.command(t, l, lease, Deployment{ID: "d2", Release: "v2", From: "v1", Kind: Deploy})
	d.Adopt(serving)
	ctx, cancel := lease.Bind(background)
	defer cancel()
	w.on, w.then = "probe green", func(ctx context.Context) error {
		require.NoError(t, l.Break(background, "production", lease.Token, "bob", "the runner hangs"))
		<-ctx.Done()
		return ctx.Err()
	}
	require.Error(t, d.Run(ctx, deploy.Release{Version: "v2"}))
	require.ErrorIs(t, context.Cause(ctx), ErrLost)
	assert.Equal(t, []string{"back up", "rehearse", "migrate", "start v2 in green", "probe green"}, w.did)
}

func TestBadReleaseThatMustStayIsWhatServes(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	w, serving := first(t, l, lease)
	d := w.command(t, l, lease, Deployment{ID: "d2", Release: "v2", From: "v1", Kind: Deploy})
	d.Adopt(serving)
	d.Bake = func(context.Context) error { return errors.New("it is slow") }
	w.floor = fmt.Errorf("column gone: %w", history.ErrBelowFloor)
	require.ErrorContains(t, d.Run(background, deploy.Release{Version: "v2"}), "it is slow")
	s, err := l.Status(background, "production")
	require.NoError(t, err)
	assert.Empty(t, s.InProgress)
	assert.Equal(t, Failed, s.Serving.Outcome)
	assert.Equal(t, "v2", s.Serving.Serves)
	assert.Equal(t, deploy.Green, s.Serving.Slot)
	assert.Equal(t, d.Serving().Slot, s.Serving.Slot)
	good, err := l.LastGood(background, "production")
	require.NoError(t, err)
	assert.Equal(t, "v1", good.Release.Version)
	require.NotNil(t, good.Verdict)
	assert.Equal(t, deploy.Unsafe, good.Verdict.Safety, "it is good, but not to be gone back to")
	assert.Contains(t, good.Verdict.Way, "newer release")

	// Put right, it is not what anybody goes back to.
	w.floor = nil
	d3 := w.command(t, l, lease, Deployment{ID: "d3", Release: "v3", From: "v2", Kind: Hotfix})
	d3.Adopt(d.Serving())
	require.NoError(t, d3.Run(background, deploy.Release{Version: "v3"}))
	require.NoError(t, d3.Retire(background))
	back := w.command(t, l, lease, Deployment{ID: "d4", Release: "v1", From: "v3", Kind: RollBack})
	back.Adopt(d3.Serving())
	require.NoError(t, back.RollBack(background))
	require.NoError(t, back.Retire(background))
	assert.Equal(t, deploy.Release{Version: "v1", Source: "sha256:v1"}, back.Serving().Release, "as it is rebuilt")
	s, err = l.Status(background, "production")
	require.NoError(t, err)
	assert.Equal(t, "v1", s.Serving.Serves)
	assert.Equal(t, back.Serving().Slot, s.Serving.Slot)
	_, err = l.LastGood(background, "production")
	require.ErrorIs(t, err, ErrNothingGood, "v3 was rolled back from, v2 failed")
	_, err = l.Verify(background, note.VerifierList())
	require.NoError(t, err)
}

func TestFirstReleaseThatFailsLeavesNothingServing(t *testing.T) {
	l, _ := fresh(t)
	lease := acquire(t, l, "production")
	w := &world{on: "probe blue", then: func(context.Context) error { return errors.New("it doesn't start") }}
	d := w.command(t, l, lease, Deployment{ID: "d1", Release: "v1", Kind: Deploy})
	require.ErrorContains(t, d.Run(background, deploy.Release{Version: "v1"}), "it doesn't start")
	s, err := l.Status(background, "production")
	require.NoError(t, err)
	assert.Nil(t, s.Serving)
	assert.Empty(t, s.InProgress)
	_, err = l.LastGood(background, "production")
	require.ErrorIs(t, err, ErrNothingGood)
}
