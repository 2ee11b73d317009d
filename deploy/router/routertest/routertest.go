// Package routertest is what every data plane must do. An implementation's test calls Run.
package routertest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/plane"
)

// patience bounds every wait for what must happen.
const patience = 20 * time.Second

// Names that rules of the suite look at; a plane must be told them at its start if it has to be.
const (
	Header = "X-Staff"
	Cookie = "beta"
)

// Stage is a data plane that serves.
type Stage struct {
	plane.Plane
	URL string // where clients connect, without a path
	// Restart ends the data plane and starts it again at the same address. Plane is replaced where it has to be.
	Restart func(t *testing.T)
}

// Suite is what the tests need of an implementation.
type Suite struct {
	// New starts a data plane without slots, with a response timeout of two seconds, that reads Header and Cookie. The
	// implementation's clean-up ends it.
	New func(t *testing.T) *Stage
}

// Run runs the suite.
func Run(t *testing.T, suite Suite) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Stage)
	}{
		{"without traffic it says so", withoutTraffic},
		{"answers say who gave them", signature},
		{"components are chosen by whole segments of the path", components},
		{"the application sees the client's request", forwarded},
		{"what cannot be is refused and changes nothing", refusals},
		{"registering twice changes nothing", twice},
		{"weights are the shares of the cohorts", shares},
		{"no cohort goes back while the weight grows", monotone},
		{"a client without an id gets one and stays", issued},
		{"a program is known by its key", keys},
		{"the next deployment draws anew", anew},
		{"rules send segments where they say", rules},
		{"a rule's percentage is a share of the cohorts", percentage},
		{"what a plane cannot do it refuses", abilities},
		{"a drain returns when the slot is idle", drains},
		{"a drain ends at its deadline and says what is left", deadline},
		{"rules lead past a slot that is drained", drainedRules},
		{"after a drain the application has no connection to wait for", idleConnections},
		{"no request is lost while traffic moves", switching},
		{"what cannot be repeated is sent once", unrepeatable},
		{"a restart serves what was served", restart},
		{"every request that ends has a record", records},
		{"records say whose doing an end was", classes},
		{"a WebSocket stays where it is", websockets},
		{"events are passed on as they come", events},
		{"a large upload is streamed", upload},
		{"a pause holds requests and loses none", pauses},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, suite.New(t)) })
	}
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// one is an instance with one component that serves everything.
func one(t testing.TB, slot deploy.Slot, version, endpoint string) deploy.Instance {
	t.Helper()
	u, err := url.Parse(endpoint)
	require.NoError(t, err)
	return deploy.Instance{
		Slot:      slot,
		Release:   deploy.Release{Version: version, Units: []deploy.Unit{{Component: "app", Routes: []string{"/"}}}},
		Endpoints: map[string]*url.URL{"app": u},
	}
}

// app is an application that can be killed: its listener and every connection are closed at once.
type app struct {
	url    string
	server *http.Server
}

func start(t testing.TB, handler http.HandlerFunc) *app {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &app{url: "http://" + listener.Addr().String(), server: &http.Server{ReadHeaderTimeout: time.Minute, Handler: handler}}
	go func() { _ = a.server.Serve(listener) }()
	t.Cleanup(a.stop)
	return a
}

func (a *app) stop() { _ = a.server.Close() }

// says is a handler that answers a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// give registers an instance and gives it all traffic.
func (s *Stage) give(t testing.TB, instance deploy.Instance) {
	t.Helper()
	require.NoError(t, s.Register(bounded(t), instance))
	require.NoError(t, s.Shift(bounded(t), map[deploy.Slot]int{instance.Slot: 100}))
}

// both registers an application in both slots and gives green its percentage.
func (s *Stage) both(t testing.TB, endpoint string, green int) {
	t.Helper()
	s.give(t, one(t, deploy.Blue, "v1", endpoint))
	require.NoError(t, s.Register(bounded(t), one(t, deploy.Green, "v2", endpoint)))
	s.shift(t, green)
}

func (s *Stage) shift(t testing.TB, green int) {
	t.Helper()
	require.NoError(t, s.Shift(bounded(t), map[deploy.Slot]int{deploy.Blue: 100 - green, deploy.Green: green}))
}

// newClient has connections of its own.
func newClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// get sends a GET with headers, given as name and value one after another.
func get(t testing.TB, client *http.Client, url string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	for pair := range slices.Chunk(headers, 2) {
		if pair[0] == "Host" {
			request.Host = pair[1]
		}
		request.Header.Add(pair[0], pair[1])
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{StatusCode: response.StatusCode, Header: response.Header, Body: string(body)}
}

// answer is a response that has been read.
type answer struct {
	StatusCode int
	Header     http.Header
	Body       string
}

func (a answer) Cookies() []*http.Cookie { return (&http.Response{Header: a.Header}).Cookies() }

// slot is who answered a request.
func (s *Stage) slot(t testing.TB, client *http.Client, path string, headers ...string) deploy.Slot {
	t.Helper()
	response := get(t, client, s.URL+path, headers...)
	require.Equal(t, http.StatusOK, response.StatusCode)
	return deploy.Slot(response.Header.Get(router.SlotHeader))
}

// cohort is the header of a client with an id.
func cohort(id string) []string { return []string{"Cookie", router.CohortCookie + "=" + id} }

func (s *Stage) statusOf(t testing.TB, slot deploy.Slot) router.SlotStatus {
	t.Helper()
	status, err := s.Status(bounded(t))
	require.NoError(t, err)
	for _, one := range status.Slots {
		if one.Slot == slot {
			return one
		}
	}
	t.Fatalf("slot %s is not registered", slot)
	return router.SlotStatus{}
}

// read reads a slot's records until there are n.
func (s *Stage) read(t testing.TB, slot deploy.Slot, n int) []router.Record {
	t.Helper()
	ctx := bounded(t)
	var cursor router.Cursor
	var all []router.Record
	for len(all) < n {
		batch, err := s.Records(ctx, slot, cursor, 7)
		require.NoError(t, err)
		require.Zero(t, batch.Lost)
		require.NotEmpty(t, batch.Records, "%d of %d records of %s came: %v", len(all), n, slot, all)
		all, cursor = append(all, batch.Records...), batch.Next
	}
	return all
}
