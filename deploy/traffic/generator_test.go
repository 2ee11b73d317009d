package traffic

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/router"
)

var (
	page = Request{Name: "page", Method: http.MethodGet, Path: "/"}
	save = Request{Name: "save", Method: http.MethodPost, Path: "/", Body: []byte("x")}
)

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// until waits for a condition on the account.
func until(t *testing.T, g *Generator, condition func(Result) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return condition(g.Snapshot()) }, 20*time.Second, 5*time.Millisecond)
}

func requests(n int) func(Result) bool { return func(r Result) bool { return r.Requests >= n } }

func TestEveryRequestIsAccountedFor(t *testing.T) {
	var reads, writes atomic.Int64
	target := serve(t, func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		if request.Method == http.MethodPost && string(body) == "x" {
			writes.Add(1)
			w.WriteHeader(http.StatusCreated)
			return
		}
		reads.Add(1)
	})
	g := New(Options{Target: target, Requests: []Request{page, save}, Clients: 4, Rate: 400})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, requests(100))
	g.Mark("switch to green")
	until(t, g, requests(200))
	out := g.Stop()
	require.EqualValues(t, out.Requests, reads.Load()+writes.Load())
	require.Zero(t, out.Failed, out.Errors)
	require.NotZero(t, reads.Load())
	require.NotZero(t, writes.Load(), "half of the clients write")
	require.Equal(t, 4, out.Clients)
	require.Len(t, out.Marks, 1)
	require.Positive(t, out.P50)
	require.LessOrEqual(t, out.P50, out.P95)
	sum := 0
	for _, p := range out.Points {
		sum += p.Requests
	}
	require.Equal(t, out.Requests, sum)
	require.Equal(t, out, g.Stop(), "stopping twice returns the same")
}

func TestFailuresAreCountedByKind(t *testing.T) {
	var n atomic.Int64
	target := serve(t, func(w http.ResponseWriter, request *http.Request) {
		switch n.Add(1) % 5 {
		case 0:
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("<h1>bad\n gateway</h1>\x00"))
		case 1:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			<-request.Context().Done()
		case 3:
			w.WriteHeader(http.StatusOK) // 201 is expected
		case 4:
			w.WriteHeader(http.StatusCreated)
		}
	})
	expect := page
	expect.Expect = http.StatusCreated
	g := New(Options{Target: target, Requests: []Request{expect}, Clients: 5, Rate: 200, Timeout: 100 * time.Millisecond})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, requests(50))
	g.Stop()
	out := g.Snapshot()
	require.InDelta(t, out.Requests*4/5, out.Failed, 4, "%v", out.Errors)
	for _, kind := range []string{"status 502", "answer cut short: connection closed", "timeout", "status 200"} {
		require.NotZero(t, out.Errors[kind], "%s in %v", kind, out.Errors)
	}
	require.Len(t, out.Failures, maxFailures)
	for _, f := range out.Failures {
		require.Equal(t, "page", f.Request)
		if f.Kind == "status 502" {
			require.Equal(t, "<h1>bad gateway</h1>", f.Detail)
		}
	}
}

// net/http would send the GET again and say nothing.
func TestAConnectionClosedUnderARequestIsAFailureThoughNetHTTPHidesIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				reader := bufio.NewReader(connection)
				if _, err := http.ReadRequest(reader); err != nil {
					return
				}
				_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				_, _ = http.ReadRequest(reader) // the second request gets no answer
			}()
		}
	}()
	g := New(Options{Target: "http://" + listener.Addr().String(), Requests: []Request{page}, Clients: 1, Rate: 100})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, requests(20))
	out := g.Stop()
	require.GreaterOrEqual(t, out.Errors["connection closed"], 9, "%v", out.Errors)
}

func TestNobodyAtTheTargetIsCountedAsRefused(t *testing.T) {
	// Nobody listens on port 1. One that was free a moment ago may be another test's by now.
	g := New(Options{Target: "http://127.0.0.1:1", Requests: []Request{page}, Rate: 200})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, requests(20))
	out := g.Stop()
	require.Equal(t, map[string]int{"connection refused": out.Requests}, out.Errors)
	require.Equal(t, out.Requests, g.Snapshot().Slots[""].Failed)
}

func TestSlotsAreToldApart(t *testing.T) {
	var slot atomic.Value
	slot.Store("blue")
	target := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(router.SlotHeader, slot.Load().(string))
	})
	g := New(Options{Target: target, Requests: []Request{page}, Rate: 200})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, requests(20))
	slot.Store("green")
	until(t, g, func(r Result) bool { return r.Slots["green"].Requests > 20 })
	g.Stop()
	out := g.Snapshot()
	blue, green := out.Slots["blue"], out.Slots["green"]
	require.Equal(t, out.Requests, blue.Requests+green.Requests)
	require.True(t, blue.Last.Before(green.Last))
	require.True(t, blue.First.Before(blue.Last))
}

// A server that stands still for a while must show as latency, as all who would have asked meanwhile wait too.
func TestAStandstillShowsInTheLatencyOfAllWhoWait(t *testing.T) {
	const still = 400 * time.Millisecond
	var first atomic.Bool
	target := serve(t, func(_ http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(false, true) {
			time.Sleep(still)
		}
	})
	g := New(Options{Target: target, Requests: []Request{page}, Clients: 1, Rate: 100})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, requests(60))
	out := g.Stop()
	// One client, 100 a second: some 40 requests were due during the standstill. A closed loop would see one slow request.
	require.Greater(t, out.P50, 20.0)
	require.Greater(t, out.P95, 200.0)
	require.Zero(t, out.Failed)
}

func TestARateThatIsNotReachedIsNotADrop(t *testing.T) {
	target := serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) })
	g := New(Options{Target: target, Requests: []Request{page}, Clients: 1, Rate: 1000})
	require.NoError(t, g.Start(t.Context()))
	until(t, g, func(r Result) bool { return r.Unsent > 0 })
	out := g.Stop()
	require.Zero(t, out.Failed)
	require.Less(t, out.P99, 2000.0, "our own queue is bounded")
}

func TestWhatACancelBreaksOffIsNotTheServersFailure(t *testing.T) {
	entered := make(chan struct{}, 100)
	target := serve(t, func(_ http.ResponseWriter, request *http.Request) {
		entered <- struct{}{}
		<-request.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	g := New(Options{Target: target, Requests: []Request{page}})
	require.NoError(t, g.Start(ctx))
	<-entered
	cancel()
	require.Zero(t, g.Stop().Requests)
}

func TestStopLetsRequestsEnd(t *testing.T) {
	entered, finish := make(chan struct{}, 1), make(chan struct{})
	target := serve(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-finish
	})
	g := New(Options{Target: target, Requests: []Request{page}, Clients: 1, Rate: 1})
	require.NoError(t, g.Start(t.Context()))
	<-entered
	time.AfterFunc(20*time.Millisecond, func() { close(finish) })
	out := g.Stop()
	require.Equal(t, 1, out.Requests)
	require.Zero(t, out.Failed)
}

func TestTrafficThatCannotBeIsRefused(t *testing.T) {
	for text, options := range map[string]Options{
		"give one like http://127.0.0.1:8080":   {Target: "localhost:80", Requests: []Request{page}},
		"list some under rehearsal.requests":    {Target: "http://127.0.0.1:1"},
		"clients, rate and timeout must be pos": {Target: "http://127.0.0.1:1", Requests: []Request{page}, Rate: -1},
	} {
		require.ErrorContains(t, New(options).Start(t.Context()), text)
	}
	g := New(Options{Target: "http://127.0.0.1:1", Requests: []Request{page}})
	require.Zero(t, g.Stop().Requests, "what was not started can be stopped")
	g = New(Options{Target: serve(t, func(http.ResponseWriter, *http.Request) {}), Requests: []Request{page}})
	require.NoError(t, g.Start(t.Context()))
	require.ErrorContains(t, g.Start(t.Context()), "make a new generator")
	g.Stop()
}

func TestAnExcerptIsFitToBeShown(t *testing.T) {
	require.Equal(t, "a b c", Excerpt([]byte("a\n\tb \x1b\xff c")))
	require.Len(t, Excerpt([]byte(strings.Repeat("x", 1000))), maxExcerpt)
	require.Equal(t, strings.Repeat("é", 149), Excerpt([]byte("x" + strings.Repeat("é", 200)))[1:], "no half characters")
}
