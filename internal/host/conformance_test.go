package host

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/runnertest"
)

func TestConformance(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	runnertest.Run(t, func(t *testing.T, files map[string]string) ci.Runner {
		return newRunner(t, Options{Source: sourceOf(t, files), CacheDir: cache})
	})
}

// newRunner makes a runner that ends with its test.
func newRunner(t testing.TB, options Options) *Runner {
	t.Helper()
	r, err := New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// sourceOf writes a source tree.
func sourceOf(t testing.TB, files map[string]string) string { return runnertest.WriteTree(t, files) }
