package supervisor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

// place is an environment of a test, without a supervisor yet.
type place struct {
	dir   string
	point string // the file that says where the supervisor dies
	mark  string // in the environment of every unit, so that those that are left are found
	route bool
	keep  bool
}

func newPlace(t *testing.T) *place {
	t.Helper()
	base, err := os.MkdirTemp("", "sv") // short: it is in a socket's path
	require.NoError(t, err)
	p := &place{dir: filepath.Join(base, "env"), point: filepath.Join(base, "point"), mark: "MARK" + filepath.Base(base)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := Down(ctx, p.dir)
		assert.NoError(t, err)
		assert.NoFileExists(t, p.dir)
		assert.Empty(t, p.processes(), "processes are left")
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.dir, ownLog))
			t.Logf("supervisor: %s", log)
		}
		_ = os.RemoveAll(base)
	})
	return p
}

// processes lists the units that run, of whatever supervisor.
func (p *place) processes() (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(data), p.mark+"=1\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (p *place) options() Options {
	o := Options{
		Dir: p.dir, Env: []string{"PATH=" + os.Getenv("PATH"), p.mark + "=1"},
		Launch: []string{os.Args[0]}, LaunchEnv: []string{"PATH=" + os.Getenv("PATH"), asSupervisor + "=" + p.point},
	}
	if p.keep {
		o.LaunchEnv = append(o.LaunchEnv, asKeeper+"=1")
	}
	if p.route {
		o.LaunchEnv = append(o.LaunchEnv, asRouter+"=1")
	}
	return o
}

func (p *place) open(t *testing.T, options Options) *Client {
	t.Helper()
	c, err := Open(bounded(t), options)
	require.NoError(t, err)
	return c
}

func (p *place) pid(t *testing.T, c *Client) int {
	t.Helper()
	status, err := c.Status(bounded(t))
	require.NoError(t, err)
	return status.PID
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func artifact(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o755))
	}
	return dir
}

// app is the suite's application.
func app(t *testing.T, name string, components ...string) deploy.Release {
	t.Helper()
	text, err := os.ReadFile("../../targettest/app.py")
	require.NoError(t, err)
	dir := artifact(t, map[string]string{"app.py": string(text)})
	r := deploy.Release{Version: name, Source: "test"}
	for _, component := range components {
		r.Units = append(r.Units, deploy.Unit{
			Component: component, Artifact: dir, Command: []string{"python3", "app.py"}, Routes: []string{"/"}, Env: map[string]string{"NAME": name},
			Stop: 5 * time.Second,
		})
	}
	return r
}

func shell(script string) deploy.Release {
	return deploy.Release{Version: "v1", Units: []deploy.Unit{{Component: "api", Command: []string{"sh", "-c", script}, Stop: time.Second}}}
}

var browser = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(url string) (string, error) {
	response, err := browser.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return string(data), err
}

func serves(t *testing.T, url, want string) {
	t.Helper()
	var got string
	var err error
	require.Eventually(t, func() bool { got, err = get(url); return err == nil }, patience, 10*time.Millisecond, "%s: %v", url, err)
	require.Equal(t, want, got)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 10*time.Millisecond, what)
}

// kill kills the supervisor and waits until it is gone.
func (p *place) kill(t *testing.T, c *Client) {
	t.Helper()
	require.NoError(t, syscall.Kill(p.pid(t, c), syscall.SIGKILL))
	eventually(t, "the supervisor is gone", func() bool { return !answers(t.Context(), p.dir) })
}
