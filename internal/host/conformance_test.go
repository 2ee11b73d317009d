package host

import (
	"os"
	"path/filepath"
	"strings"
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
func sourceOf(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		target := filepath.Join(root, filepath.FromSlash(path))
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
		if link, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(t, os.Symlink(link, target))
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		require.NoError(t, os.WriteFile(target, []byte(content), mode))
	}
	return root
}
