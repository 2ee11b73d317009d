package router_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

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

// backend is a server for one test.
func backend(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// says is a handler that answers a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// public serves the router as it would be served and returns its base URL.
func public(t testing.TB, r *router.Router) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return "http://" + listener.Addr().String()
}

// give registers an instance and gives it all traffic.
func give(t testing.TB, r deploy.Splitter, instance deploy.Instance) {
	t.Helper()
	require.NoError(t, r.Register(t.Context(), instance))
	require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{instance.Slot: 100}))
}

// newClient has connections of its own.
func newClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// eventually waits for a condition that another goroutine makes true.
func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, what)
}

func statusOf(t testing.TB, r *router.Router, slot deploy.Slot) router.SlotStatus {
	t.Helper()
	for _, s := range r.Stats().Slots {
		if s.Slot == slot {
			return s
		}
	}
	t.Fatalf("slot %s is not registered", slot)
	return router.SlotStatus{}
}

// getWith gets with a cookie, over a connection of its own.
func getWith(t testing.TB, url string, cookie *http.Cookie) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	request.AddCookie(cookie)
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(data)
}
