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
	require.ErrorContains(t, err, "another router answers there; stop it, take over from it, or use another socket")

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
		"mistyped key":     {"PUT", "/v1/slots/blue", strings.Replace(good, "release", "relaese", 1), 400, `unknown field \"relaese\"`},
		"cut off":          {"PUT", "/v1/slots/blue", good[:30], 400, "not what this endpoint reads"},
		"two values":       {"PUT", "/v1/slots/blue", good + good, 400, "more than one JSON value"},
		"nothing":          {"PUT", "/v1/slots/blue", "", 400, "no component with routes"},
		"too much":         {"PUT", "/v1/slots/blue", strings.Repeat(" ", 1<<20+1), 400, "over 1 MiB"},
		"not a URL":        {"PUT", "/v1/slots/blue", strings.Replace(good, "http://127.0.0.1:1", "127.0.0.1", 1), 400, "give one like http://"},
		"component twice":  {"PUT", "/v1/slots/blue", strings.Replace(good, "}]}", `}, {"component": "app", "url": "http://127.0.0.1:1", "routes": ["/x"]}]}`, 1), 400, "app is there twice"},
		"unknown slot":     {"PUT", "/v1/weights", `{"blue": 100}`, 404, "register an instance in it first"},
		"fractions":        {"PUT", "/v1/weights", `{"blue": 99.5}`, 400, "not what this endpoint reads"},
		"negative limit":   {"POST", "/v1/pause", `{"limit_ms": -1}`, 400, "give milliseconds"},
		"overflow":         {"POST", "/v1/drain/blue", `{"limit_ms": 9223372036854775807}`, 400, "give milliseconds"},
		"pause of nothing": {"POST", "/v1/pause", `{}`, 400, "a pause needs a limit"},
		"no rules":         {"PUT", "/v1/rules", `{}`, 400, "there are no rules"},
		"a mistyped match": {"PUT", "/v1/rules", `{"rules": [{"name": "r", "match": {"heder": {}}, "slot": "blue"}]}`, 400, `unknown field \"heder\"`},
		"a mirror of none": {"PUT", "/v1/mirror", `{}`, 400, "which is not the name of a slot"},
		"a cursor of text": {"GET", "/v1/records/blue?after=x", ``, 400, "after is"},
		"another version":  {"GET", "/v2/status", ``, 404, "there is no GET /v2/status"},
		"no socket":        {"POST", "/v1/handover", ``, 409, "the router serves no control socket"},
		"another verb":     {"PATCH", "/v1/weights", `{}`, 404, "there is no PATCH /v1/weights"},
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
	f.Add("PUT", "/v1/slots/blue", []byte(`{"release": "v1", "backends": [{"component": "app", "url": "http://127.0.0.1:1", "routes": ["/"]}]}`))
	f.Add("PUT", "/v1/weights", []byte(`{"blue": 100}`))
	f.Add("PUT", "/v1/weights", []byte(`{"blue": 50, "green": 50}`))
	f.Add("DELETE", "/v1/slots/green", []byte(``))
	f.Add("POST", "/v1/drain/green", []byte(`{"limit_ms": 1}`))
	f.Add("POST", "/v1/resume", []byte(``))
	f.Add("PUT", "/v1/rules", []byte(`{"rules": [{"name": "r", "match": {"percent": 5, "countries": ["NZ"]}, "slot": "green"}]}`))
	f.Add("PUT", "/v1/rules", []byte(`{"rules": [{"name": "r", "match": {}, "experiment": "e"}], "experiments": [{"name": "e", "variants": [{"name": "a", "weight": 50, "slot": "blue"}, {"name": "b", "weight": 50, "slot": "green"}]}]}`))
	f.Add("PUT", "/v1/mirror", []byte(`{"slot": "green", "percent": 5, "ignore": ["**.at"]}`))
	f.Add("GET", "/v1/records/green?after=1", []byte(``))
	f.Add("GET", "/v1/metrics", []byte(``))
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
		if recorder.Header().Get("Content-Type") == router.MetricsType {
			return
		}
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

func TestRulesMirrorsRecordsAndMetricsCrossTheSocket(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(app.Close)
	r := router.New(router.Options{})
	client := control.NewClient(listen(t, r))
	ctx := t.Context()
	require.NoError(t, client.Register(ctx, instance(t, deploy.Blue, "v1", app.URL)))
	require.NoError(t, client.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 100}))

	routing := router.Routing{Rules: []router.Rule{{Name: "nz", Match: router.Match{Countries: []string{"NZ"}}, Slot: deploy.Green}}}
	require.NoError(t, client.SetRules(ctx, routing))
	got, err := client.Rules(ctx)
	require.NoError(t, err)
	require.Equal(t, routing, got)
	near := r.SetRules(ctx, router.Routing{Rules: []router.Rule{{Name: "r"}}})
	require.Equal(t, near, client.SetRules(ctx, router.Routing{Rules: []router.Rule{{Name: "r"}}}))
	require.NoError(t, client.SetRules(ctx, router.Routing{}))
	require.Empty(t, r.Rules().Rules)

	require.NoError(t, client.SetMirror(ctx, &router.Mirror{Slot: deploy.Green, Percent: 1}))
	require.NotNil(t, r.Stats().Mirror)
	require.NoError(t, client.SetMirror(ctx, nil))
	require.Nil(t, r.Stats().Mirror)

	public := httptest.NewServer(r)
	t.Cleanup(public.Close)
	read := make(chan router.Batch, 1)
	go func() {
		batch, err := client.Records(context.Background(), deploy.Blue, router.Cursor{}, 0)
		if err == nil {
			read <- batch
		}
	}()
	response, err := http.Get(public.URL + "/a/1")
	require.NoError(t, err)
	response.Body.Close()
	batch := <-read
	require.Len(t, batch.Records, 1)
	require.Equal(t, "GET /a/:id", batch.Records[0].Route)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	none, err := client.Records(short, deploy.Blue, batch.Next, 0)
	require.NoError(t, err, "nothing new is no error")
	require.Empty(t, none.Records)
	require.Equal(t, batch.Next, none.Next)
	canceled, leave := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, leave)
	_, err = client.Records(canceled, deploy.Blue, batch.Next, 0)
	require.NoError(t, err)
	_, err = client.Records(ctx, deploy.Green, router.Cursor{}, 0)
	require.ErrorContains(t, err, "slot green is not registered")

	var metrics strings.Builder
	require.NoError(t, client.WriteMetrics(ctx, &metrics))
	require.Contains(t, metrics.String(), `pipeline_router_requests_total{slot="blue",class="ok"} 1`)
}
