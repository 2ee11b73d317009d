package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

func get(t testing.TB, client *http.Client, url string) (response *http.Response, body string) {
	t.Helper()
	response, err := client.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(data)
}

func TestARouterWithoutTrafficSaysSo(t *testing.T) {
	r := router.New(router.Options{})
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Blue, "v1", "http://127.0.0.1:1")))
	response, _ := get(t, newClient(t), public(t, r))
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Equal(t, "1", response.Header.Get("Retry-After"))
}

func TestAnswersSayWhoGaveThem(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Green, "v2", backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(router.SlotHeader, "forged")
		w.WriteHeader(http.StatusTeapot)
	}).URL))
	response, _ := get(t, newClient(t), base)
	require.Equal(t, http.StatusTeapot, response.StatusCode)
	require.Equal(t, []string{"green"}, response.Header.Values(router.SlotHeader))
	require.Equal(t, "v2", response.Header.Get(router.ReleaseHeader))
	require.Empty(t, response.Cookies(), "one slot needs no cohort")
}

func TestComponentsAreChosenByPath(t *testing.T) {
	page, api := backend(t, says("page")), backend(t, says("api"))
	r := router.New(router.Options{})
	base := public(t, r)
	instance := deploy.Instance{Slot: deploy.Blue, Release: deploy.Release{Version: "v1", Units: []deploy.Unit{
		{Component: "page", Routes: []string{"/page"}}, {Component: "api", Routes: []string{"/api"}}, {Component: "worker"},
	}}, Endpoints: map[string]*url.URL{}}
	instance.Endpoints["page"], _ = url.Parse(page.URL)
	instance.Endpoints["api"], _ = url.Parse(api.URL)
	give(t, r, instance)
	for path, want := range map[string]string{"/page": "page", "/api/x": "api"} {
		_, body := get(t, newClient(t), base+path)
		require.Equal(t, want, body)
	}
	response, _ := get(t, newClient(t), base+"/nowhere")
	require.Equal(t, http.StatusNotFound, response.StatusCode)
	require.EqualValues(t, 1, statusOf(t, r, deploy.Blue).Unrouted)
}

func TestTheApplicationSeesTheClientsRequest(t *testing.T) {
	seen := make(chan *http.Request, 1)
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(_ http.ResponseWriter, request *http.Request) {
		seen <- request
	}).URL))
	request, err := http.NewRequest(http.MethodGet, base+"/a%2Fb?x=1;y=2&z", nil)
	require.NoError(t, err)
	request.Host = "shop.example"
	request.Header.Set("X-Forwarded-For", "203.0.113.7")
	request.Header.Set("Authorization", "Bearer t")
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	response.Body.Close()
	got := <-seen
	require.Equal(t, "/a%2Fb?x=1;y=2&z", got.RequestURI)
	require.Equal(t, "shop.example", got.Host)
	require.Equal(t, "127.0.0.1", got.Header.Get("X-Forwarded-For"), "a client may not claim an address")
	require.Equal(t, "shop.example", got.Header.Get("X-Forwarded-Host"))
	require.Equal(t, "Bearer t", got.Header.Get("Authorization"))
}

func TestBehindAnotherProxyTheClientsAddressIsKept(t *testing.T) {
	seen := make(chan *http.Request, 1)
	r := router.New(router.Options{TrustForwarded: true})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(_ http.ResponseWriter, request *http.Request) { seen <- request }).URL))
	request, _ := http.NewRequest(http.MethodGet, base, nil)
	request.Header.Set("X-Forwarded-For", "203.0.113.7")
	request.Header.Set("X-Forwarded-Proto", "https")
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	response.Body.Close()
	got := <-seen
	require.Equal(t, "203.0.113.7, 127.0.0.1", got.Header.Get("X-Forwarded-For"))
	require.Equal(t, "https", got.Header.Get("X-Forwarded-Proto"))
}

func TestKindsOfFailureAreCountedApart(t *testing.T) {
	entered := make(chan struct{}, 1)
	r := router.New(router.Options{ResponseTimeout: 100 * time.Millisecond})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		switch request.URL.Path {
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		case "/slow":
			entered <- struct{}{}
			<-request.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 500_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/gone":
			panic(http.ErrAbortHandler)
		}
	}).URL))
	client := newClient(t)
	for path, want := range map[string]int{"/": 200, "/500": 500, "/gone": 502, "/slow": 504} {
		response, body := get(t, client, base+path)
		require.Equal(t, want, response.StatusCode, path)
		require.Equal(t, "blue", response.Header.Get(router.SlotHeader), path)
		require.NotContains(t, body, "127.0.0.1", "the public is told no addresses")
	}
	<-entered

	response, err := client.Get(base + "/cut")
	require.NoError(t, err)
	_, err = io.ReadAll(response.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "half an answer must not look whole")
	response.Body.Close()

	eventually(t, func() bool { return statusOf(t, r, deploy.Blue).InFlight == 0 }, "requests end")
	s := statusOf(t, r, deploy.Blue)
	require.EqualValues(t, []int64{5, 1, 1, 1, 1, 0}, []int64{s.Requests, s.AppErrors, s.Gateway, s.Timeouts, s.Truncated, s.Aborted})
	require.Len(t, r.Latencies(deploy.Blue), 2, "only what the application answered in full")
}

func TestAClientThatGoesAwayIsNotTheReleasesFault(t *testing.T) {
	entered := make(chan struct{})
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(_ http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body) // net/http watches the connection once the body is read
		close(entered)
		<-request.Context().Done()
	}).URL))
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base, strings.NewReader("x"))
	require.NoError(t, err)
	go func() {
		<-entered
		leave()
	}()
	_, err = newClient(t).Do(request)
	require.ErrorIs(t, err, context.Canceled)
	eventually(t, func() bool { return statusOf(t, r, deploy.Blue).Aborted == 1 }, "the abort is counted")
	s := statusOf(t, r, deploy.Blue)
	require.Zero(t, s.Gateway+s.Timeouts+s.AppErrors+s.Truncated)
}

func TestAStreamIsPassedOnAsItComes(t *testing.T) {
	more := make(chan struct{})
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "data: %d\n", n)
			_ = http.NewResponseController(w).Flush()
			<-more
		}
	}).URL))
	response, err := newClient(t).Get(base)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for n := range 3 {
		require.True(t, lines.Scan())
		require.Equal(t, fmt.Sprintf("data: %d", n), lines.Text())
		more <- struct{}{}
	}
}

func TestAPausedRouterHoldsRequestsAndLosesNone(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, says("ok")).URL))
	require.Error(t, r.Pause(0))
	require.NoError(t, r.Pause(time.Minute))
	answers := make(chan int, 8)
	for range cap(answers) {
		client := newClient(t)
		go func() {
			response, err := client.Post(base, "text/plain", strings.NewReader("x"))
			if err != nil {
				answers <- 0
				return
			}
			response.Body.Close()
			answers <- response.StatusCode
		}()
	}
	eventually(t, func() bool { return r.Stats().Held == cap(answers) }, "requests are held")
	require.True(t, r.Stats().Paused)
	require.Zero(t, r.Idle(t.Context()), "nothing reaches the application")
	require.True(t, r.Resume())
	for range cap(answers) {
		require.Equal(t, http.StatusOK, <-answers)
	}
	require.False(t, r.Resume(), "nothing was held any more")
}

func TestAPauseEndsByItself(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, says("ok")).URL))
	require.NoError(t, r.Pause(time.Hour))
	require.NoError(t, r.Pause(20*time.Millisecond))
	started := time.Now()
	_, body := get(t, newClient(t), base)
	require.Equal(t, "ok", body)
	require.Less(t, time.Since(started), 10*time.Second)
	require.False(t, r.Resume())
}

func TestEndingTheRouterLetsRequestsFinish(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	app := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		_, _ = w.Write([]byte("whole"))
	})
	r := router.New(router.Options{})
	give(t, r, one(t, deploy.Blue, "v1", app.URL))
	server := httptest.NewUnstartedServer(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, server.Listener) }()
	body := make(chan string, 1)
	client := newClient(t)
	go func() {
		_, text := get(t, client, "http://"+server.Listener.Addr().String())
		body <- text
	}()
	<-entered
	cancel()
	close(finish)
	require.Equal(t, "whole", <-body)
	require.NoError(t, <-ended)
}

func TestEndingTheRouterSaysWhatItCutOff(t *testing.T) {
	entered := make(chan struct{})
	app := backend(t, func(_ http.ResponseWriter, request *http.Request) {
		close(entered)
		<-request.Context().Done()
	})
	r := router.New(router.Options{Grace: 20 * time.Millisecond})
	give(t, r, one(t, deploy.Blue, "v1", app.URL))
	server := httptest.NewUnstartedServer(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, server.Listener) }()
	client := newClient(t)
	go func() { _, _ = client.Get("http://" + server.Listener.Addr().String()) }()
	<-entered
	cancel()
	require.ErrorContains(t, <-ended, "1 requests cut off after 20ms")
}

func TestHeadersAreBounded(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, says("ok")).URL))
	request, _ := http.NewRequest(http.MethodGet, base, http.NoBody)
	request.Header.Set("X-Large", strings.Repeat("x", 80<<10))
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
}
