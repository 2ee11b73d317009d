package verify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/traffic"
	"github.com/metaextract/pipeline/deploy/verify"
)

// instance is a release with one unit behind a handler.
func instance(t *testing.T, unit deploy.Unit, handler http.HandlerFunc) deploy.Instance {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	unit.Component = "api"
	return at(t, unit, server.URL)
}

func at(t *testing.T, unit deploy.Unit, address string) deploy.Instance {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return deploy.Instance{
		Slot: deploy.Green, Release: deploy.Release{Version: "v2", Units: []deploy.Unit{unit}},
		Endpoints: map[string]*url.URL{unit.Component: u},
	}
}

func TestReadyWaitsForHealthThenReadyThenTheVersion(t *testing.T) {
	var asked atomic.Int64
	i := instance(t, deploy.Unit{Health: "/healthz", Ready: "/readyz", Version: "/version"}, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		switch {
		case r.URL.Path == "/healthz" && n < 3, r.URL.Path == "/readyz" && n < 5:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/version":
			_, _ = io.WriteString(w, `{"release": "v2"}`)
		}
	})
	alive := 0
	require.NoError(t, verify.New(verify.Options{}).Ready(t.Context(), i, func() error { alive++; return nil }))
	require.EqualValues(t, 6, asked.Load(), "healthz 503 503 200, readyz 503 200, version")
	require.Equal(t, 5, alive, "before each poll")
}

func TestNotReadyInTimeSaysWhatTheLastAnswerWas(t *testing.T) {
	i := instance(t, deploy.Unit{Health: "/healthz", Ready: "/readyz", Start: 400 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "database unreachable\n")
		}
	})
	err := verify.New(verify.Options{}).Ready(t.Context(), i, nil)
	require.ErrorContains(t, err, "api: not ready after ")
	require.ErrorContains(t, err, "GET /readyz answered 503: database unreachable; read its log")
}

func TestNobodyListensSaysSo(t *testing.T) {
	i := at(t, deploy.Unit{Component: "api", Health: "/healthz", Start: 100 * time.Millisecond}, "http://127.0.0.1:1")
	require.ErrorContains(t, verify.New(verify.Options{}).Ready(t.Context(), i, nil), "GET /healthz: connection refused")
}

func TestAHangIsAskedAgainOnlyUntilTheDeadline(t *testing.T) {
	i := instance(t, deploy.Unit{Health: "/healthz", Start: 100 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})
	require.ErrorContains(t, verify.New(verify.Options{}).Ready(t.Context(), i, nil), "GET /healthz: no answer in time")
}

func TestAUnitThatEndedIsNoticedAtOnce(t *testing.T) {
	i := instance(t, deploy.Unit{Health: "/healthz"}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	ended := errors.New("exit code 3: ModuleNotFoundError: fastapi")
	polls := 0
	err := verify.New(verify.Options{}).Ready(t.Context(), i, func() error {
		if polls++; polls < 3 {
			return nil
		}
		return ended
	})
	require.ErrorIs(t, err, ended)
}

func TestOneUnitThatFailsEndsTheWaitForAll(t *testing.T) {
	never := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	i := instance(t, deploy.Unit{Health: "/healthz", Start: 100 * time.Millisecond}, never)
	slow := httptest.NewServer(http.HandlerFunc(never))
	defer slow.Close()
	i.Release.Units = append(i.Release.Units, deploy.Unit{Component: "page", Health: "/", Start: time.Hour})
	i.Endpoints["page"], _ = url.Parse(slow.URL)
	err := verify.New(verify.Options{}).Ready(t.Context(), i, nil)
	require.ErrorContains(t, err, "api: ")
	require.NotContains(t, err.Error(), "page: ")
}

func TestAnotherVersionThanTheReleaseIsRefused(t *testing.T) {
	i := instance(t, deploy.Unit{Health: "/healthz", Version: "/version"}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "v1") })
	err := verify.New(verify.Options{}).Ready(t.Context(), i, nil)
	require.ErrorContains(t, err, `GET /version answered 200 "v1", which does not contain the release v2; build the version into the application or correct serve.version`)
	i.Release.Version = ""
	require.NoError(t, verify.New(verify.Options{}).Ready(t.Context(), i, nil))
}

func TestAUnitWithoutPathsMustAnswerOnItsRoute(t *testing.T) {
	i := instance(t, deploy.Unit{Routes: []string{"/api"}, Start: 100 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	require.NoError(t, verify.New(verify.Options{}).Ready(t.Context(), i, nil))
	i.Release.Units[0].Routes = []string{"/broken"}
	require.ErrorContains(t, verify.New(verify.Options{}).Ready(t.Context(), i, nil), "GET /broken answered 500")
}

func TestACanceledWaitIsCanceled(t *testing.T) {
	i := instance(t, deploy.Unit{Health: "/healthz"}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	ctx, cancel := context.WithCancel(t.Context())
	err := verify.New(verify.Options{}).Ready(ctx, i, func() error { cancel(); return nil })
	require.ErrorIs(t, err, context.Canceled)
}

func TestSmokeSendsEveryRequestOnceToItsComponent(t *testing.T) {
	var seen []string
	record := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen = append(seen, name+" "+r.Method+" "+r.RequestURI+" "+string(body))
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusCreated)
			}
		}
	}
	i := instance(t, deploy.Unit{Routes: []string{"/api"}}, record("api"))
	page := httptest.NewServer(record("page"))
	defer page.Close()
	i.Release.Units = append(i.Release.Units, deploy.Unit{Component: "page", Routes: []string{"/"}})
	i.Endpoints["page"], _ = url.Parse(page.URL)
	err := verify.New(verify.Options{Requests: []traffic.Request{
		{Name: "upload", Method: "POST", Path: "/api/x?y=1", Body: []byte("data"), Expect: 201},
		{Name: "page", Method: "GET", Path: "/"},
	}}).Smoke(t.Context(), i)
	require.NoError(t, err)
	require.Equal(t, []string{"api POST /api/x?y=1 data", "page GET / "}, seen)
}

func TestSmokeNamesAllThatFailed(t *testing.T) {
	i := instance(t, deploy.Unit{Routes: []string{"/api"}}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/broken":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "Traceback "+strings.Repeat("x", 1000))
		case "/api/cut":
			panic(http.ErrAbortHandler)
		case "/api/slow":
			<-r.Context().Done()
		}
	})
	err := verify.New(verify.Options{Timeout: 100 * time.Millisecond, Requests: []traffic.Request{
		{Name: "fine", Method: "GET", Path: "/api"},
		{Name: "broken", Method: "GET", Path: "/api/broken"},
		{Name: "wrong", Method: "GET", Path: "/api", Expect: 201},
		{Name: "cut", Method: "GET", Path: "/api/cut"},
		{Name: "slow", Method: "GET", Path: "/api/slow"},
		{Name: "lost", Method: "GET", Path: "/other"},
	}}).Smoke(t.Context(), i)
	for _, text := range []string{
		"smoke test: 5 of 6 requests failed",
		"broken: GET /api/broken of api answered 500 instead of below 400: Traceback xxx",
		"wrong: GET /api of api answered 200 instead of 201",
		"cut: GET /api/cut of api: EOF",
		"slow: GET /api/slow of api: no answer in time",
		"lost: no component serves /other; add the prefix to serve.routes of one or correct the path",
	} {
		require.ErrorContains(t, err, text)
	}
	require.Less(t, len(err.Error()), 1000, "answers are excerpts")
}
