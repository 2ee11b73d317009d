package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/deploy/rehearse"
)

func TestPlatformBuildsAndServesAndLeavesNothing(t *testing.T) {
	if _, err := findPostgres(); err != nil {
		t.Skip(err)
	}
	source := sourceOf(t, map[string]string{"source": "1"})
	t.Setenv("TMPDIR", shortDir(t))
	p, err := NewPlatform(PlatformOptions{CacheDir: clusters})
	require.NoError(t, err)
	assert.Equal(t, "host", p.Name())

	build := stepOf("build", "cat source >built", "**")
	build.Kind = ci.Build
	builder, err := p.Builder(bounded(t), rehearse.Application{Dir: source}, nil)
	require.NoError(t, err)
	results, err := builder.Run(bounded(t), build)
	require.NoError(t, err)
	requirePassed(t, results...)
	one, err := builder.Artifact(build)
	require.NoError(t, err)
	two, err := builder.Artifact(build)
	require.NoError(t, err)
	assert.NotEqual(t, one, two, "each slot has its own")
	assert.FileExists(t, filepath.Join(one, "built"))

	urls, err := p.Services(bounded(t), []ci.Service{{Kind: ci.Postgres, Env: "DATABASE_URL"}, {Kind: ci.Redis, Env: "REDIS_URL"}})
	require.NoError(t, err)
	assert.Equal(t, int64(1), query[int64](t, urls["DATABASE_URL"], "SELECT 1::bigint"))
	assert.Regexp(t, `^redis://127\.0\.0\.1:\d+/0$`, urls["REDIS_URL"])
	_, err = p.Services(bounded(t), []ci.Service{{Kind: "oracle"}})
	assert.ErrorContains(t, err, "oracle")

	require.NoError(t, p.Close())
	assert.NoDirExists(t, one)
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.NoError(t, p.Close())
}
