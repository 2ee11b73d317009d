//go:build engine

// These tests need a Dagger engine: dagger run go test -tags engine ./internal/engine. The tag is there because the
// generated client ends any process that imports it outside a session. The module in tests runs them on the engine
// itself, where services can be reached.

package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/runnertest"
	"github.com/metaextract/pipeline/internal/dagger"
)

func TestConformance(t *testing.T) {
	client := dagger.Connect()
	runnertest.Run(t, func(t *testing.T, files map[string]string) ci.Runner {
		return New(Options{
			Client: client, Source: uploaded(t, client, files),
			Secrets: func(uri string) (*dagger.Secret, error) {
				value, ok := os.LookupEnv(strings.TrimPrefix(uri, "env://"))
				if !ok {
					return nil, fmt.Errorf("%s is not set", uri)
				}
				return client.SetSecret(uri, value), nil
			},
		})
	})
}

// uploaded is a source tree as the command line would upload it.
func uploaded(t *testing.T, client *dagger.Client, files map[string]string) *dagger.Directory {
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
	var id dagger.ID
	host := client.QueryBuilder().Select("host").Select("directory").Arg("path", root).Select("id")
	require.NoError(t, host.Bind(&id).Execute(t.Context()))
	return dagger.Ref[*dagger.Directory](client, id)
}
