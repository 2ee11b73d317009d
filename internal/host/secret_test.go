package host

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

func TestSecretsAreReadWhereTheirReferenceSays(t *testing.T) {
	source := sourceOf(t, map[string]string{"token.txt": "from a file\n"})
	home := sourceOf(t, map[string]string{"token": "from home"})
	t.Setenv("HOME", home)
	t.Setenv("HOST_TEST_TOKEN", "from the environment")
	for uri, want := range map[string]string{
		"env://HOST_TEST_TOKEN":                "from the environment",
		"file://token.txt":                     "from a file",
		"file://" + source + "/token.txt":      "from a file",
		"file://~/token":                       "from home",
		"cmd://echo $HOST_TEST_TOKEN | tr f F": "From the environment",
	} {
		value, err := ResolveSecret(bounded(t), uri, source)
		require.NoError(t, err, uri)
		assert.Equal(t, want, value, uri)
	}
}

func TestSecretsThatCannotBeReadSayWhatToDo(t *testing.T) {
	source := t.TempDir()
	for uri, want := range map[string]string{
		"env://HOST_TEST_NOT_SET":   "HOST_TEST_NOT_SET: the variable is not set",
		"file://absent":             "absent",
		"cmd://echo oops; exit 3":   "exit code 3",
		"op://vault/item/password":  "op:// references",
		"vault://secret/data/x#key": "Dagger engine",
		"hunter2":                   "is not a URI",
	} {
		_, err := ResolveSecret(bounded(t), uri, source)
		assert.ErrorContains(t, err, want, uri)
	}
	_, err := ResolveSecret(bounded(t), "cmd://echo oops; exit 3", source)
	assert.NotContains(t, err.Error(), "oops\n")
}

// holding lists the files below a directory that hold a text, or whose name does.
func holding(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if bytes.Contains([]byte(path), []byte(text)) {
			found = append(found, path)
		}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if bytes.Contains(data, []byte(text)) {
				found = append(found, path)
			}
		}
		return nil
	}))
	return found
}

func TestNoFileOfTheCacheHoldsASecret(t *testing.T) {
	const secret = "hunter2-hunter2"
	t.Setenv("HOST_TEST_TOKEN", secret)
	cache := t.TempDir()
	careful := stepOf("careful", `echo "$TOKEN"; echo "$TOKEN" >report.xml`)
	careless := stepOf("careless", `mkdir dist; env >dist/env.txt; echo "$TOKEN" >~/.token`)
	careless.Kind, careless.Outputs = ci.Build, []ci.Output{{Name: "bundle", Path: "dist"}}
	for _, s := range []*ci.Step{&careful, &careless} {
		s.Secrets = []ci.SecretRef{{Env: "TOKEN", URI: "env://HOST_TEST_TOKEN"}}
		s.Reports = []ci.Report{{Format: ci.JUnit, Path: "report.xml"}}
	}
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	results := runSteps(t, r, careful, careless, afterStep(careless, stepOf("user", "cat dist/env.txt >/dev/null")))
	requirePassed(t, results...)
	assert.Equal(t, "***\n", string(results[0].Reports[0].Data))
	assert.Contains(t, string(results[1].Log), "holds the value of a secret")
	_, ok := r.Layer(careless)
	assert.True(t, ok, "this run may use it")
	require.NoError(t, r.Close())
	assert.Empty(t, holding(t, cache, secret))

	r = newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	results = runSteps(t, r, careful, careless)
	requirePassed(t, results...)
	assert.True(t, results[0].Cached)
	assert.False(t, results[1].Cached)
}
