package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

// runningRouter is the command serving in a process of its own.
type runningRouter struct {
	cmd  *exec.Cmd
	base string
	out  *watched
}

func startRouterCommand(t *testing.T, dir string, args ...string) *runningRouter {
	t.Helper()
	r := &runningRouter{out: &watched{until: "control on", found: make(chan struct{})}}
	r.cmd = exec.Command(os.Args[0], append([]string{"router"}, args...)...)
	r.cmd.Dir, r.cmd.Env = dir, append(os.Environ(), asPipeline+"=1")
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
	require.NoError(t, r.cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = r.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(40 * time.Second):
			_ = r.cmd.Process.Kill()
			<-ended
			t.Errorf("the router did not end: %s", r.out)
		}
	})
	select {
	case <-r.out.found:
	case <-ended:
		t.Fatalf("the router did not start: %s", r.out)
	case <-time.After(time.Minute):
		t.Fatalf("the router did not start in time: %s", r.out)
	}
	address := regexp.MustCompile(`traffic on (\S+),`).FindStringSubmatch(r.out.String())
	require.Len(t, address, 2, r.out.String())
	r.base = "http://" + address[1]
	return r
}

// ask runs a sub-command and does not mind the router that runs beside it.
func (r *runningRouter) ask(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"router"}, args...)...)
	cmd.Dir, cmd.Env = r.cmd.Dir, append(os.Environ(), asPipeline+"=1")
	cmd.Stdin = strings.NewReader(stdin)
	var out strings.Builder
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	_ = cmd.Run() // its exit code says it
	return outcome{code: cmd.ProcessState.ExitCode(), out: out.String() + stderr.String(), stdout: out.String()}
}

func TestTheRouterIsDrivenFromTheCommandLine(t *testing.T) {
	dir, err := os.MkdirTemp("", "rtr") // short: a socket's path may have some 100 bytes
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	serve := func(text string) string {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
		t.Cleanup(app.Close)
		return app.URL
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	metrics := free.Addr().String()
	require.NoError(t, free.Close())
	first := startRouterCommand(t, dir, "--listen", "127.0.0.1:0", "--access-log", "access.log", "--exclude", "/healthz", "--metrics", metrics)
	require.Contains(t, first.ask(t, "", "status").out, "no slot is registered")
	client := control.NewClient(filepath.Join(dir, "pipeline-router.sock"))
	for slot, text := range map[deploy.Slot]string{deploy.Blue: "old", deploy.Green: "new"} {
		endpoint, err := url.Parse(serve(text))
		require.NoError(t, err)
		require.NoError(t, client.Register(t.Context(), deploy.Instance{
			Slot: slot, Release: deploy.Release{Version: text, Units: []deploy.Unit{{Component: "app", Routes: []string{"/"}}}},
			Endpoints: map[string]*url.URL{"app": endpoint},
		}))
	}
	get := func() string {
		t.Helper()
		response, err := http.Get(first.base)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Equal(t, 0, first.ask(t, "", "shift", "blue=100%").code)
	require.Equal(t, "old", get())

	for text, c := range map[string]struct {
		code int
		args []string
	}{
		"make them add up to 100":                    {2, []string{"shift", "blue=50"}},
		`"blue" is no share: write it like green=10`: {2, []string{"shift", "blue"}},
		"slot blue is there twice":                   {2, []string{"shift", "blue=50", "blue=50"}},
		"slot violet is not registered":              {2, []string{"shift", "violet=100"}},
		"slot blue still gets 100 % of the traffic":  {1, []string{"drain", "blue"}},
		"is it running?":                             {3, []string{"status", "--socket", "none"}},
		"must be text or json":                       {2, []string{"status", "--output", "xml"}},
		"no such file or directory":                  {2, []string{"rules", "none.json"}},
		"--tls-cert and --tls-key belong together":   {2, []string{"--tls-cert", "x"}},
		"another router answers there":               {3, []string{"--listen", "127.0.0.1:0", "--state", "other.json"}},
		"take over from the router at none":          {3, []string{"upgrade", "--socket", "none"}},
	} {
		got := first.ask(t, "", c.args...)
		require.Contains(t, got.out, text, "%v", c.args)
		require.Equal(t, c.code, got.code, "%v: %s", c.args, got.out)
	}

	got := first.ask(t, `{"rules": [{"name": "all", "match": {"path": "/"}, "slot": "green"}]}`, "rules", "-")
	require.Equal(t, 0, got.code, got.out)
	require.Contains(t, got.out, `all: {"path":"/"} -> slot green`)
	require.Equal(t, "new", get())
	got = first.ask(t, `{"rules": [{"name": "all", "match": {"path": "x"}, "slot": "green"}]}`, "rules", "-")
	require.Equal(t, 2, got.code)
	require.Contains(t, got.out, "begin it with a slash")
	got = first.ask(t, `{"slot": "green", "percent": 5}`, "mirror", "-")
	require.Equal(t, 0, got.code, got.out)

	var drained router.Drained
	got = first.ask(t, "", "drain", "green", "--limit", "30s", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &drained), got.out)
	require.Equal(t, "old", get())
	require.Contains(t, first.ask(t, "", "status").out, "rule all leads nowhere")
	require.Equal(t, 0, first.ask(t, "", "pause", "--limit", "1m").code)
	require.Contains(t, first.ask(t, "", "upgrade").out, "the router is paused")
	require.Contains(t, first.ask(t, "", "resume").out, "resumed")
	require.Contains(t, first.ask(t, "", "resume").out, "nothing was held")

	// Another program takes over, with the table and the socket.
	second := startRouterCommand(t, dir, "upgrade", "--metrics", metrics)
	require.Equal(t, first.base, second.base)
	var status router.Status
	require.NoError(t, json.Unmarshal([]byte(second.ask(t, "", "status", "--output", "json").stdout), &status))
	require.Len(t, status.Slots, 2)
	require.Zero(t, status.Slots[0].Requests, "it is another process")
	require.Equal(t, "old", get(), "the connection leads to the router that was replaced")
	require.Equal(t, "old", get(), "and the next one to the new router")
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return err == nil && strings.Contains(string(text), `pipeline_router_requests_total{slot="blue",class="ok"} 1`)
	}, 30*time.Second, 20*time.Millisecond, "the new one publishes its metrics where the old one did")
	log, err := os.ReadFile(filepath.Join(dir, "access.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), `"slot":"green"`)
}
