package router_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

func TestARouterContinuesWhereAnotherStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.json")
	first, err := router.Load(path, router.Options{})
	require.NoError(t, err, "no file is an empty router")
	give(t, first, one(t, deploy.Blue, "v1", backend(t, says("old")).URL))
	require.NoError(t, first.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, says("new")).URL)))
	require.NoError(t, first.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 60, deploy.Green: 40}))

	second, err := router.Load(path, router.Options{}) // the first was killed: nothing was said to it
	require.NoError(t, err)
	require.Equal(t, 60, statusOf(t, second, deploy.Blue).Weight)
	require.Equal(t, "v2", statusOf(t, second, deploy.Green).Release)
	base := public(t, second)
	require.NoError(t, second.Shift(t.Context(), toGreen))
	_, body := get(t, newClient(t), base)
	require.Equal(t, "new", body)

	third, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	require.Equal(t, 100, statusOf(t, third, deploy.Green).Weight, "changes of the second were written too")
}

func TestClientsKeepTheirSlotOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.json")
	first, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	give(t, first, one(t, deploy.Blue, "v1", backend(t, says("old")).URL))
	require.NoError(t, first.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, says("new")).URL)))
	require.NoError(t, first.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 50, deploy.Green: 50}))
	second, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	for range 20 {
		response, before := get(t, newClient(t), public(t, first))
		require.Len(t, response.Cookies(), 1)
		_, after := getWith(t, public(t, second), response.Cookies()[0])
		require.Equal(t, before, after)
	}
}

func TestTheStateFileHoldsNoEnvironmentAndIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.json")
	r, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	instance := one(t, deploy.Blue, "v1", "http://127.0.0.1:1")
	instance.Release.Units[0].Env = map[string]string{"DATABASE_URL": "postgres://u:hunter2@db"}
	require.NoError(t, r.Register(t.Context(), instance))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(data), "hunter2")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestAChangeThatCannotBeWrittenIsNotMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	require.NoError(t, os.Mkdir(dir, 0o700))
	r, err := router.Load(filepath.Join(dir, "router.json"), router.Options{})
	require.NoError(t, err)
	give(t, r, one(t, deploy.Blue, "v1", "http://127.0.0.1:1"))
	require.NoError(t, os.RemoveAll(dir))
	err = r.Register(t.Context(), one(t, deploy.Green, "v2", "http://127.0.0.1:2"))
	require.ErrorContains(t, err, "write router state, nothing was changed")
	require.Len(t, r.Stats().Slots, 1)
}

func TestAStateFileThatCannotBeReadIsAnError(t *testing.T) {
	for what, content := range map[string]string{
		"cut off":        `{"version": 1, "slots": [`,
		"another format": `{"version": 7}`,
		"no backend":     `{"version": 1, "slots": [{"slot": "blue", "weight": 100}]}`,
		"weights":        `{"version": 1, "slots": [{"slot": "blue", "weight": 30, "backends": [{"component": "a", "url": "http://127.0.0.1:1", "routes": ["/"]}]}]}`,
	} {
		path := filepath.Join(t.TempDir(), "router.json")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := router.Load(path, router.Options{})
		require.ErrorContains(t, err, "load router state "+path, what)
		require.ErrorContains(t, err, "move the file away to start without slots", what)
	}
}

// A reader sees one whole state or another, whatever is written meanwhile.
func TestTheStateFileIsWholeAtEveryMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.json")
	r, err := router.Load(path, router.Options{})
	require.NoError(t, err)
	give(t, r, one(t, deploy.Blue, "v1", "http://127.0.0.1:1"))
	ctx, cancel := context.WithCancel(t.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for ctx.Err() == nil {
			_ = r.Register(ctx, one(t, deploy.Green, "v2", "http://127.0.0.1:2"))
			_ = r.Remove(ctx, deploy.Green)
		}
	})
	for range 200 {
		loaded, err := router.Load(path, router.Options{})
		require.NoError(t, err)
		require.Equal(t, 100, statusOf(t, loaded, deploy.Blue).Weight)
	}
	cancel()
	writer.Wait()
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file is left")
}

// Whatever the file holds, loading it is a router that works or an error.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version": 1, "salt": "s", "slots": [{"slot": "blue", "weight": 100, "release": "v1", "backends": [{"component": "a", "url": "http://127.0.0.1:1", "routes": ["/"]}]}]}`))
	f.Add([]byte(`{"version": 1, "slots": []}`))
	f.Add([]byte(`{"version": 1, "slots": [], "routing": {"rules": [{"name": "r", "match": {"percent": 5}, "experiment": "e"}], "experiments": [{"name": "e", "variants": [{"name": "a", "weight": 50, "slot": "blue"}, {"name": "b", "weight": 50, "slot": "green"}]}]}, "mirror": {"slot": "green", "percent": 1}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "router.json")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		r, err := router.Load(path, router.Options{})
		if err != nil {
			return
		}
		sum := 0
		for _, s := range r.Stats().Slots {
			sum += s.Weight
		}
		require.Contains(t, []int{0, 100}, sum)
		require.NoError(t, r.Register(t.Context(), one(t, "fuzz", "v", "http://127.0.0.1:1")))
		again, err := router.Load(path, router.Options{})
		require.NoError(t, err, "what a router writes a router reads")
		require.Equal(t, r.Stats(), again.Stats())
	})
}
