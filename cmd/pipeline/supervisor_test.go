package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/local/supervisor"
)

// localApplication has the given local environments.
func localApplication(t *testing.T, environments ...string) string {
	t.Helper()
	text := "version: 1\nname: shop\ncomponents:\n  page:\n    path: .\n    runtimes: [node]\n    serve: {static: dist, routes: [/]}\n"
	if len(environments) > 0 {
		text += "environments:\n"
	}
	for _, name := range environments {
		text += fmt.Sprintf("  %s: {branches: [%s], target: local}\n", name, name)
	}
	return write(t, map[string]string{"pipeline.yaml": text, "package.json": `{"name": "shop"}`, "dist/index.html": "shop"})
}

// stateHome is short, since a socket's path may have some 100 bytes.
func stateHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "st")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("XDG_STATE_HOME", dir)
	return dir
}

func TestALocalEnvironmentIsUpUntilDown(t *testing.T) {
	home := stateHome(t)
	app := localApplication(t, "staging")
	options, err := supervised("shop", "staging")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(home, "pipeline", "shop", "staging"), options.Dir)
	options.LaunchEnv = append(options.LaunchEnv, asPipeline+"=1")
	client, err := supervisor.Open(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = supervisor.Down(context.Background(), options.Dir) })

	release := deploy.Release{Version: "v1", Units: []deploy.Unit{{Component: "page", Artifact: app, Static: "dist", Routes: []string{"/"}}}}
	instance, err := client.Start(t.Context(), deploy.Blue, release)
	require.NoError(t, err)
	require.NoError(t, client.Splitter().Register(t.Context(), instance))
	require.NoError(t, client.Splitter().Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	status, err := client.Status(t.Context())
	require.NoError(t, err)
	get := func() string {
		response, err := http.Get(status.Router.URL)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Equal(t, "shop", get())

	// Whoever kills the supervisor takes all of it for a moment; its keeper brings it back.
	require.NoError(t, syscall.Kill(status.PID, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		now, err := client.Status(t.Context())
		return err == nil && now.PID != status.PID
	}, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, "shop", get())

	got := pipeline(t, app, "down")
	require.Equal(t, 0, got.code, got.out)
	assert.Equal(t, "staging: ended router on "+status.Router.URL[len("http://"):]+"\nstaging: ended slot blue, release v1\nstaging: down\n", got.stdout)
	assert.NoDirExists(t, options.Dir)
	_, err = http.Get(status.Router.URL)
	require.Error(t, err)
}

func TestDownSaysWhatItCannotKnow(t *testing.T) {
	stateHome(t)
	for name, c := range map[string]struct {
		environments, args []string
		code               int
		want               string
	}{
		"the only one":        {[]string{"staging"}, []string{"down"}, 0, "staging: it was not up\n"},
		"one of two":          {[]string{"staging", "test"}, []string{"down", "test"}, 0, "test: it was not up\n"},
		"which one of two":    {[]string{"staging", "test"}, []string{"down"}, 2, "which one? pipeline.yaml has the local environments staging, test"},
		"one that is not":     {[]string{"staging"}, []string{"down", "stagign"}, 2, "pipeline.yaml has no local environment stagign; it has: staging"},
		"none":                {nil, []string{"down"}, 2, "pipeline.yaml has no local environment"},
		"no application":      {[]string{"staging"}, []string{"down", "--source", "elsewhere"}, 2, "pipeline.yaml"},
		"an unknown format":   {[]string{"staging"}, []string{"down", "-o", "xml"}, 2, "must be text or json"},
		"a supervisor's flag": {nil, []string{"supervisor"}, 2, `required flag(s) "dir" not set`},
	} {
		t.Run(name, func(t *testing.T) {
			got := pipeline(t, localApplication(t, c.environments...), c.args...)
			assert.Equal(t, c.code, got.code, got.out)
			assert.Contains(t, got.out, c.want)
		})
	}
	got := pipeline(t, localApplication(t, "staging"), "down", "-o", "json")
	var answer struct {
		Environment string
		Ended       []string
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &answer), got.out)
	assert.Equal(t, "staging", answer.Environment)
	assert.Empty(t, answer.Ended)
}
