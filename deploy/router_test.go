package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/canary"
	"github.com/metaextract/pipeline/deploy/router"
)

// machine runs releases as servers of the test; a share of the answers of a release is 500.
type machine struct {
	fails map[string]float64
	mu    sync.Mutex
	slots map[deploy.Slot]*httptest.Server
	what  map[deploy.Slot]string
}

func (m *machine) Start(_ context.Context, slot deploy.Slot, release deploy.Release) (deploy.Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slots[slot] != nil {
		return deploy.Instance{}, errors.New("in use")
	}
	m.slots[slot] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if rand.Float64() < m.fails[release.Version] {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, release.Version)
	}))
	m.what[slot] = release.Version
	return m.instance(slot, release), nil
}

func (m *machine) instance(slot deploy.Slot, release deploy.Release) deploy.Instance {
	at, _ := url.Parse(m.slots[slot].URL)
	return deploy.Instance{Slot: slot, Release: release, Endpoints: map[string]*url.URL{"web": at}}
}

func (m *machine) Running(_ context.Context, slot deploy.Slot) (deploy.Instance, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.slots[slot] == nil {
		return deploy.Instance{}, false, nil
	}
	return m.instance(slot, deploy.Release{Version: m.what[slot]}), true, nil
}
func (m *machine) Alive(context.Context, deploy.Slot) error { return nil }
func (m *machine) Logs(context.Context, deploy.Slot) (map[string]string, error) {
	return nil, nil
}
func (m *machine) Stop(_ context.Context, slot deploy.Slot) error {
	m.mu.Lock()
	server := m.slots[slot]
	delete(m.slots, slot)
	m.mu.Unlock()
	if server != nil {
		server.Close()
	}
	return nil
}
func (m *machine) Close(context.Context) error                                { return nil }
func (m *machine) Ready(context.Context, deploy.Instance, func() error) error { return nil }
func (m *machine) Smoke(context.Context, deploy.Instance) error               { return nil }
func (m *machine) LastGood(context.Context) (deploy.Release, error)           { return web("v1"), nil }
func (m *machine) Release(_ context.Context, version string) (deploy.Release, error) {
	return web(version), nil
}
func (m *machine) Judged(context.Context, deploy.Verdict) error { return nil }

func web(version string) deploy.Release {
	return deploy.Release{Version: version, Units: []deploy.Unit{{Component: "web", Routes: []string{"/"}}}}
}

// diary is a journal whose lock is lost at the nth ramp step, once.
type diary struct {
	entries []deploy.Entry
	loseAt  int
}

func (d *diary) Write(_ context.Context, e deploy.Entry) error {
	if e.State == deploy.Ramping {
		if d.loseAt--; d.loseAt == 0 {
			return gone{}
		}
	}
	d.entries = append(d.entries, e)
	return nil
}

type gone struct{}

func (gone) Error() string  { return "the lock is lost" }
func (gone) LockLost() bool { return true }

// With the real router and people who come and go: a release that fails one time in three is given up after its first step,
// a good one gets everybody, also when the command that began has died on the ramp, and nobody's request is lost.
func TestACanaryBehindTheRouter(t *testing.T) {
	for name, test := range map[string]struct {
		fails  float64
		loseAt int
		serves string
	}{
		"good":                              {serves: "v2"},
		"bad":                               {fails: .3, serves: "v1"},
		"good, and resumed on the ramp":     {loseAt: 2, serves: "v2"},
		"bad, and resumed before the first": {fails: .3, loseAt: 1, serves: "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &machine{fails: map[string]float64{"v2": test.fails}, slots: map[deploy.Slot]*httptest.Server{}, what: map[deploy.Slot]string{}}
			split := router.New(router.Options{})
			front := httptest.NewServer(split)
			defer front.Close()
			written := &diary{}
			store := deploy.DirStore(t.TempDir())
			command := func(id string) *deploy.Deployment {
				return &deploy.Deployment{ID: id, Target: m, Splitter: split, Verifier: m, Journal: written, Releases: m, Strategy: deploy.Canary,
					Ramp: &deploy.Ramp{Recorder: router.Recorder{Source: split}, Store: store, Every: 10 * time.Millisecond, Plan: canary.Plan{
						Steps:  []canary.Step{{Percent: 20, Exposure: 60, MaxExcess: .15}, {Percent: 50, Exposure: 60, MaxExcess: .15}},
						WarmUp: -1, Bake: 50 * time.Millisecond,
						Options: canary.Options{Alpha: 1e-5}, // no false alarm in the life of this test
					}}}
			}
			first := command("d0")
			require.NoError(t, first.Launch(t.Context(), deploy.Blue, web("v1")))
			written.entries = nil

			ctx, cancel := context.WithCancel(t.Context())
			var people sync.WaitGroup
			var requests, failed, lost atomic.Int64
			for range 4 {
				people.Go(func() {
					for ctx.Err() == nil { // somebody new each time: no cookies are kept
						answer, err := http.Get(front.URL)
						requests.Add(1)
						switch {
						case err != nil || answer.StatusCode >= http.StatusBadGateway:
							lost.Add(1)
						case answer.StatusCode == http.StatusInternalServerError:
							failed.Add(1)
						}
						if err == nil {
							_ = answer.Body.Close()
						}
						select {
						case <-ctx.Done():
						case <-time.After(2 * time.Millisecond):
						}
					}
				})
			}
			written.loseAt = test.loseAt
			d := command("d1")
			d.Adopt(first.Serving())
			err := d.Run(t.Context(), web("v2"))
			if test.loseAt > 0 {
				require.ErrorContains(t, err, "the lock is lost")
				d = command("")
				err = d.Resume(t.Context(), written.entries)
			}
			var bad *deploy.CanaryError
			if test.serves == "v1" {
				require.ErrorAs(t, err, &bad)
				t.Log(bad)
			} else {
				require.NoError(t, err)
			}
			require.NoError(t, d.Retire(t.Context()))
			after := requests.Load()
			require.Eventually(t, func() bool { return requests.Load() > after+20 }, 10*time.Second, time.Millisecond)
			cancel()
			people.Wait()
			assert.Equal(t, test.serves, d.Serving().Release.Version)
			assert.Zero(t, lost.Load())
			assert.Len(t, m.slots, 1)
			end := written.entries[len(written.entries)-1]
			assert.True(t, end.State.Ended())
			assert.Equal(t, test.serves, end.Release)
			t.Logf("%d requests, %d of them failed on the canary, %d lost", requests.Load(), failed.Load(), lost.Load())
			require.NoError(t, m.Stop(t.Context(), d.Serving().Slot))
		})
	}
}
