package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci"
)

func TestCommandsSeeAnEnvironmentOfTheirOwn(t *testing.T) {
	home := sourceOf(t, map[string]string{".npmrc": "registry=x", ".config/pip/pip.conf": "[global]"})
	t.Setenv("HOME", home)
	t.Setenv("HTTPS_PROXY", "http://user:proxypass@proxy:3128")
	t.Setenv("NODE_EXTRA_CA_CERTS", "/ca.pem")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "leaked")
	t.Setenv("npm_config_userconfig", "")
	os.Unsetenv("npm_config_userconfig")
	step := stepOf("unit", "env; test -d $npm_config_cache && touch $TMPDIR/x ~/x")
	step.Env = map[string]string{"NODE_ENV": "test", "LANG": "de_DE.UTF-8"}
	step.Caches = []ci.Cache{{Key: "npm/cache", Env: "npm_config_cache"}}
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir()})
	result := runSteps(t, r, step)[0]
	requirePassed(t, result)
	got := map[string]string{}
	for line := range strings.Lines(string(result.Log)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		got[name] = value
	}
	for name, want := range map[string]string{
		"CI": "true", "TERM": "dumb", "NODE_USE_SYSTEM_CA": "1", "NODE_ENV": "test", "NODE_EXTRA_CA_CERTS": "/ca.pem",
		"LANG":                  "de_DE.UTF-8", // the step's own wins
		"HOME":                  "~",
		"TMPDIR":                "$TMPDIR",
		"HTTPS_PROXY":           "http://user:***@proxy:3128",
		"npm_config_cache":      filepath.Join(r.store.dir, "caches", "npm_cache"),
		"npm_config_userconfig": filepath.Join(home, ".npmrc"),
		"PIP_CONFIG_FILE":       filepath.Join(home, ".config/pip/pip.conf"),
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.NotContains(t, got, "AWS_SECRET_ACCESS_KEY")
	assert.NoFileExists(t, filepath.Join(home, "x"))
}

func TestEnvironmentThatCannotBeSetIsSaid(t *testing.T) {
	step := stepOf("unit", "true")
	step.Env = map[string]string{"A=B": "1"}
	result := runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir()}), step)[0]
	assert.Equal(t, ci.Broken, result.Status)
	assert.ErrorContains(t, result.Err, `"A=B"`)
}
