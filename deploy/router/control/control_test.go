package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

func instance(t testing.TB, slot deploy.Slot, version, endpoint string) deploy.Instance {
	t.Helper()
	u, err := url.Parse(endpoint)
	require.NoError(t, err)
	return deploy.Instance{
		Slot: slot,
		Release: deploy.Release{Version: version, Units: []deploy.Unit{
			{Component: "app", Routes: []string{"/"}, Env: map[string]string{"TOKEN": "hunter2"}},
		}},
		Endpoints: map[string]*url.URL{"app": u},
	}
}

// listen serves the control of a router on a socket and returns the socket's path. It is in a directory with a short
// name: a socket's path may have some 100 bytes.
func listen(t testing.TB, r *router.Router) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := control.Listen(socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.NewServer(r).Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		require.NoFileExists(t, socket)
	})
	return socket
}

func TestADeploymentDrivesARouterInAnotherProcess(t *testing.T) {
	r := router.New(router.Options{})
	client := control.NewClient(listen(t, r))
	ctx := t.Context()
	require.NoError(t, client.Register(ctx, instance(t, deploy.Blue, "v1", "http://127.0.0.1:1")))
	require.NoError(t, client.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 100}))
	require.NoError(t, client.Register(ctx, instance(t, deploy.Green, "v2", "http://127.0.0.1:2")))
	require.NoError(t, client.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 25, deploy.Green: 75}))
	status, err := client.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, r.Stats(), status)
	require.Equal(t, 75, status.Slots[1].Weight)

	require.NoError(t, client.Shift(ctx, map[deploy.Slot]int{deploy.Green: 100}))
	left, err := client.Drain(ctx, deploy.Blue)
	require.NoError(t, err)
	require.Zero(t, left)
	require.NoError(t, client.Remove(ctx, deploy.Blue))
	require.Len(t, r.Stats().Slots, 1)

	require.NoError(t, client.Pause(ctx, time.Minute))
	require.True(t, r.Stats().Paused)
	held, err := client.Resume(ctx)
	require.NoError(t, err)
	require.True(t, held)
}

func TestARefusalCrossesTheSocketWhole(t *testing.T) {
	r := router.New(router.Options{})
	client := control.NewClient(listen(t, r))
	ctx := t.Context()
	require.NoError(t, client.Register(ctx, instance(t, deploy.Blue, "v1", "http://127.0.0.1:1")))
	require.NoError(t, client.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 100}))
	for _, refuse := range []func(deploy.Splitter) error{
		func(s deploy.Splitter) error { return s.Shift(ctx, map[deploy.Slot]int{deploy.Green: 100}) },
		func(s deploy.Splitter) error { return s.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 99}) },
		func(s deploy.Splitter) error { return s.Remove(ctx, deploy.Blue) },
		func(s deploy.Splitter) error { _, err := s.Drain(ctx, deploy.Blue); return err },
	} {
		near, far := refuse(r), refuse(client)
		require.Error(t, near)
		require.Equal(t, near, far, "what the client returns is what the router returned")
	}
}

func TestADrainThatEndsAtTheDeadlineSaysHowManyAreLeft(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-finish
	}))
	defer app.Close()
	r := router.New(router.Options{})
	client := control.NewClient(listen(t, r))
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Blue, "v1", app.URL)))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	public := httptest.NewServer(r)
	defer public.Close()
	defer close(finish)
	go func() {
		if response, err := http.Get(public.URL); err == nil {
			response.Body.Close()
		}
	}()
	<-entered
	require.NoError(t, client.Register(t.Context(), instance(t, deploy.Green, "v2", app.URL)))
	require.NoError(t, client.Shift(t.Context(), map[deploy.Slot]int{deploy.Green: 100}))

	bounded, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	left, err := client.Drain(bounded, deploy.Blue)
	require.Equal(t, 1, left)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	canceled, leave := context.WithTimeout(t.Context(), time.Minute)
	time.AfterFunc(20*time.Millisecond, leave)
	_, err = client.Drain(canceled, deploy.Blue)
	require.ErrorIs(t, err, context.Canceled, "a cancellation does not wait for the deadline")
}

func TestOnlyItsOwnerMayUseTheSocket(t *testing.T) {
	socket := listen(t, router.New(router.Options{}))
	info, err := os.Stat(socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestASocketIsTakenOverFromADeadRouterOnly(t *testing.T) {
	socket := listen(t, router.New(router.Options{}))
	_, err := control.Listen(socket)
	require.ErrorContains(t, err, "another router answers there; stop it or use another socket")

	dead := socket + "d"
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	taken, err := control.Listen(dead)
	require.NoError(t, err)
	require.NoError(t, taken.Close())

	file := socket + "f"
	require.NoError(t, os.WriteFile(file, []byte("precious"), 0o600))
	_, err = control.Listen(file)
	require.ErrorContains(t, err, "it exists and is no socket")
	require.FileExists(t, file)
}

func TestAClientWithoutARouterSaysWhereItLooked(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	_, err := control.NewClient(socket).Status(t.Context())
	require.ErrorContains(t, err, "reach the router at "+socket)
	require.ErrorContains(t, err, "is it running?")
}

func TestRequestsThatAreNotUnderstoodChangeNothing(t *testing.T) {
	r := router.New(router.Options{})
	server := control.NewServer(r)
	good := `{"release": "v1", "backends": [{"component": "app", "url": "http://127.0.0.1:1", "routes": ["/"]}]}`
	for what, c := range map[string]struct {
		method, path, body string
		status             int
		text               string
	}{
		"mistyped key":     {"PUT", "/slots/blue", strings.Replace(good, "release", "relaese", 1), 400, `unknown field \"relaese\"`},
		"cut off":          {"PUT", "/slots/blue", good[:30], 400, "not what this endpoint reads"},
		"two values":       {"PUT", "/slots/blue", good + good, 400, "more than one JSON value"},
		"nothing":          {"PUT", "/slots/blue", "", 400, "no component with routes"},
		"too much":         {"PUT", "/slots/blue", strings.Repeat(" ", 1<<20+1), 400, "over 1 MiB"},
		"not a URL":        {"PUT", "/slots/blue", strings.Replace(good, "http://127.0.0.1:1", "127.0.0.1", 1), 400, "give one like http://"},
		"component twice":  {"PUT", "/slots/blue", strings.Replace(good, "}]}", `}, {"component": "app", "url": "http://127.0.0.1:1", "routes": ["/x"]}]}`, 1), 400, "app is there twice"},
		"unknown slot":     {"PUT", "/weights", `{"blue": 100}`, 404, "register an instance in it first"},
		"fractions":        {"PUT", "/weights", `{"blue": 99.5}`, 400, "not what this endpoint reads"},
		"negative limit":   {"POST", "/pause", `{"limit_ms": -1}`, 400, "give milliseconds"},
		"overflow":         {"POST", "/drain/blue", `{"limit_ms": 9223372036854775807}`, 400, "give milliseconds"},
		"pause of nothing": {"POST", "/pause", `{}`, 400, "a pause needs a limit"},
		"another verb":     {"PATCH", "/weights", `{}`, 404, "there is no PATCH /weights"},
	} {
		recorder := httptest.NewRecorder()
		server.ServeHTTP(recorder, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		require.Equal(t, c.status, recorder.Code, what)
		require.Contains(t, recorder.Body.String(), c.text, what)
		var refused router.Error
		require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &refused), what)
		require.NotEmpty(t, refused.Do, what)
	}
	require.Empty(t, r.Stats().Slots)
}

// Whatever is sent, the answer is JSON, a refusal says what to do, and the weights still add up.
func FuzzControl(f *testing.F) {
	f.Add("PUT", "/slots/blue", []byte(`{"release": "v1", "backends": [{"component": "app", "url": "http://127.0.0.1:1", "routes": ["/"]}]}`))
	f.Add("PUT", "/weights", []byte(`{"blue": 100}`))
	f.Add("PUT", "/weights", []byte(`{"blue": 50, "green": 50}`))
	f.Add("DELETE", "/slots/green", []byte(``))
	f.Add("POST", "/drain/green", []byte(`{"limit_ms": 1}`))
	f.Add("POST", "/resume", []byte(``))
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r := router.New(router.Options{})
		require.NoError(t, r.Register(t.Context(), instance(t, deploy.Green, "v1", "http://127.0.0.1:1")))
		require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{deploy.Green: 100}))
		request, err := http.NewRequestWithContext(t.Context(), method, "http://router/"+strings.TrimPrefix(path, "/"), bytes.NewReader(body))
		if err != nil {
			return
		}
		recorder := httptest.NewRecorder()
		control.NewServer(r).ServeHTTP(recorder, request)
		if recorder.Code >= 300 && recorder.Code < 400 {
			return // http.ServeMux cleans the path
		}
		data, _ := io.ReadAll(recorder.Body)
		require.True(t, json.Valid(data), "%s", data)
		if recorder.Code != http.StatusOK {
			var refused router.Error
			require.NoError(t, json.Unmarshal(data, &refused))
			require.NotEmpty(t, refused.Do)
		}
		sum := 0
		for _, s := range r.Stats().Slots {
			sum += s.Weight
		}
		require.Equal(t, 100, sum)
	})
}
