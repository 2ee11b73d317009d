package host

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

func installs(n int) (steps []ci.Step) {
	for i := range n {
		s := stepOf("install", fmt.Sprint("echo ", i))
		s.Kind = ci.Install
		steps = append(steps, s)
	}
	return steps
}

func layersIn(t *testing.T, cache string) int {
	t.Helper()
	names, err := os.ReadDir(filepath.Join(cache, "layers"))
	require.NoError(t, err)
	return len(names)
}

func TestPruneKeepsTheLayersThatWereUsedLast(t *testing.T) {
	cache := t.TempDir()
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache, Retention: Retention{Age: time.Hour, Count: 2}})
	steps := installs(4)
	for _, s := range steps {
		requirePassed(t, runSteps(t, r, s)...)
	}
	used := time.Now().Add(time.Minute)
	first := r.store.load(r.latestKey(t, steps[0]))
	require.NoError(t, os.Chtimes(filepath.Join(r.store.layerDir(first.Layer), completeMarker), used, used))
	assert.Equal(t, 4, layersIn(t, cache))
	pruned, err := Prune(cache, Retention{Age: time.Hour, Count: 2})
	require.NoError(t, err)
	assert.Zero(t, pruned.Layers, "those that a runner uses stay")
	require.NoError(t, r.Close())
	assert.Equal(t, 2, layersIn(t, cache))
	assert.DirExists(t, r.store.layerDir(first.Layer))
}

// latestKey is the key of a step that this runner has run.
func (r *Runner) latestKey(t *testing.T, step ci.Step) string {
	t.Helper()
	graph, err := r.plan(t.Context(), []ci.Step{step})
	require.NoError(t, err)
	return graph.listed[0].key
}

func TestPruneRemovesWhatIsOld(t *testing.T) {
	cache := t.TempDir()
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	requirePassed(t, runSteps(t, r, installs(1)[0], stepOf("unit", "true"))...)
	require.NoError(t, r.Close())
	old := time.Now().Add(-20 * 24 * time.Hour)
	for _, pattern := range []string{"layers/*/" + completeMarker, "records/*"} {
		files, err := filepath.Glob(filepath.Join(cache, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			require.NoError(t, os.Chtimes(file, old, old))
		}
	}
	pruned, err := Prune(cache, DefaultRetention)
	require.NoError(t, err)
	assert.Equal(t, Pruned{Layers: 1, Results: 2}, pruned)
	locks, err := os.ReadDir(filepath.Join(cache, "locks"))
	require.NoError(t, err)
	assert.Empty(t, locks)
}

func TestPruneRemovesWhatKilledRunsLeft(t *testing.T) {
	cache := t.TempDir()
	s, err := openStore(cache)
	require.NoError(t, err)
	killed, err := s.newLayer("0123456789")
	require.NoError(t, err)
	killed.lock.unlock() // as the kernel does
	using, err := s.newLayer("0123456789")
	require.NoError(t, err)
	pruned, err := Prune(cache, DefaultRetention)
	require.NoError(t, err)
	assert.Equal(t, 1, pruned.Layers)
	assert.NoDirExists(t, killed.dir)
	assert.DirExists(t, using.dir)
	assert.NoError(t, using.complete("install", "0123456789"))
	using.release()
	assert.NotNil(t, s.openLayer(using.name))
}
