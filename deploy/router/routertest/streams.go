package routertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

func records(t *testing.T, s *Stage) {
	s.both(t, start(t, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/items/7" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}).url, 50)
	require.NoError(t, s.SetRules(bounded(t), router.Routing{Rules: []router.Rule{{Name: "staff", Match: router.Match{Header: &router.Value{Name: Header}}, Slot: deploy.Green}}}))
	client, sent := newClient(t), map[deploy.Slot]int{}
	for n := range 60 {
		response := get(t, client, fmt.Sprintf("%s/items/%d?secret=hunter2", s.URL, n%10), "X-Api-Key", fmt.Sprint("key", n%9))
		sent[deploy.Slot(response.Header.Get(router.SlotHeader))]++
	}
	get(t, client, s.URL+"/items/1", "X-Api-Key", "key1", Header, "1")
	sent[deploy.Green]++
	seen, where := map[string]bool{}, map[string]deploy.Slot{}
	byRule := 0
	for slot, n := range sent {
		for i, record := range s.read(t, slot, n) {
			require.EqualValues(t, i+1, record.Sequence)
			require.Equal(t, "GET /items/:id", record.Route)
			require.Equal(t, 50, record.Weight)
			require.Len(t, record.Cohort, 16)
			require.Equal(t, record.Status == http.StatusInternalServerError, record.Class == router.AppError)
			require.LessOrEqual(t, record.FirstByte, record.End)
			require.WithinDuration(t, time.Now(), record.Time, time.Minute)
			require.False(t, record.Streamed)
			seen[record.Cohort] = true
			if record.By == router.ByRule {
				require.Equal(t, "staff", record.Rule)
				byRule++
				continue
			}
			require.Equal(t, router.ByChance, record.By)
			require.Empty(t, record.Rule)
			if before, ok := where[record.Cohort]; ok {
				require.Equal(t, before, slot)
			}
			where[record.Cohort] = slot
		}
		status := s.statusOf(t, slot)
		require.EqualValues(t, n, status.Requests)
	}
	require.Len(t, seen, 9, "a client is one cohort on both slots")
	require.Equal(t, 1, byRule)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	batch, err := s.Records(ctx, deploy.Blue, router.Cursor{}, 3)
	require.NoError(t, err)
	require.Len(t, batch.Records, 3)
	again, err := s.Records(ctx, deploy.Blue, batch.Next, 1)
	require.NoError(t, err)
	require.EqualValues(t, 4, again.Records[0].Sequence)
	elsewhere, err := s.Records(ctx, deploy.Blue, router.Cursor{Stream: "another", After: 7}, 1)
	require.NoError(t, err)
	require.True(t, elsewhere.Restart)
	require.EqualValues(t, 1, elsewhere.Records[0].Sequence)
}

func classes(t *testing.T, s *Stage) {
	entered := make(chan struct{}, 1)
	var unanswered atomic.Int64
	application := start(t, func(w http.ResponseWriter, request *http.Request) {
		switch request.URL.Path {
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/overloaded":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/silent", "/left":
			_, _ = io.Copy(io.Discard, request.Body)
			entered <- struct{}{}
			<-request.Context().Done()
		case "/cut":
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 500_000))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/gone":
			unanswered.Add(1)
			panic(http.ErrAbortHandler)
		}
	})
	s.give(t, one(t, deploy.Blue, "v1", application.url))
	client := newClient(t)
	type end struct {
		status int
		class  router.Class
	}
	want := map[string]end{
		"POST /fine": {200, router.OK}, "POST /broken": {500, router.AppError}, "POST /overloaded": {503, router.AppError},
		"POST /gone": {502, router.RouterMade}, "POST /silent": {504, router.RouterMade}, "POST /cut": {200, router.AppError},
		"POST /left": {499, router.ClientAbort}, "POST /down": {502, router.RouterMade},
	}
	post := func(ctx context.Context, path string) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+path, strings.NewReader("x"))
		require.NoError(t, err)
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		assert.Equal(t, want["POST "+path].status, response.StatusCode, path)
		assert.Equal(t, "blue", response.Header.Get(router.SlotHeader), path)
		body, err := io.ReadAll(response.Body)
		assert.NotContains(t, string(body), "127.0.0.1", "the public is told no addresses")
		return err
	}
	for _, path := range []string{"/fine", "/broken", "/overloaded", "/gone", "/silent"} {
		require.NoError(t, post(bounded(t), path), path)
	}
	require.EqualValues(t, 1, unanswered.Load(), "what the application may have worked on is not sent again")
	<-entered
	require.Error(t, post(bounded(t), "/cut"), "half an answer must not look whole")
	ctx, leave := context.WithCancel(bounded(t))
	go func() {
		<-entered
		leave()
	}()
	require.ErrorIs(t, post(ctx, "/left"), context.Canceled)
	require.Eventually(t, func() bool { return s.statusOf(t, deploy.Blue).InFlight == 0 }, patience, time.Millisecond)
	application.stop()
	require.NoError(t, post(bounded(t), "/down"))

	got := map[string]end{}
	for _, record := range s.read(t, deploy.Blue, len(want)) {
		got[record.Route] = end{record.Status, record.Class}
	}
	require.Equal(t, want, got)
	status := s.statusOf(t, deploy.Blue)
	require.EqualValues(t, []int64{8, 2, 2, 1, 1, 1}, []int64{
		status.Requests, status.AppErrors, status.Gateway, status.Timeouts, status.Truncated, status.Aborted,
	})
}

func websockets(t *testing.T, s *Stage) {
	s.give(t, one(t, deploy.Blue, "v1", start(t, func(w http.ResponseWriter, request *http.Request) {
		socket, err := (&websocket.Upgrader{}).Upgrade(w, request, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		for {
			kind, message, err := socket.ReadMessage()
			if err != nil || socket.WriteMessage(kind, message) != nil {
				return
			}
		}
	}).url))
	socket, response, err := websocket.DefaultDialer.DialContext(bounded(t), "ws"+strings.TrimPrefix(s.URL, "http")+"/socket", nil)
	require.NoError(t, err)
	response.Body.Close()
	defer socket.Close()
	echo := func(message string) {
		t.Helper()
		require.NoError(t, socket.WriteMessage(websocket.TextMessage, []byte(message)))
		_, got, err := socket.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, message, string(got))
	}
	echo("before")
	s.give(t, one(t, deploy.Green, "v2", start(t, says("new")).url))
	echo(strings.Repeat("x", 100_000))
	require.Equal(t, 1, s.statusOf(t, deploy.Blue).InFlight)
	socket.Close()
	left, err := s.Drain(bounded(t), deploy.Blue)
	require.NoError(t, err)
	require.Zero(t, left)
	record := s.read(t, deploy.Blue, 1)[0]
	require.Equal(t, http.StatusSwitchingProtocols, record.Status)
	require.True(t, record.Streamed, "its length is no latency")
	require.Contains(t, []router.Class{router.OK, router.ClientAbort}, record.Class, "it is not the release's fault that it ended")
}

func events(t *testing.T, s *Stage) {
	more := make(chan struct{})
	s.give(t, one(t, deploy.Blue, "v1", start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for n := range 3 {
			fmt.Fprintf(w, "data: %d\n", n)
			_ = http.NewResponseController(w).Flush()
			<-more
		}
	}).url))
	request, err := http.NewRequestWithContext(bounded(t), http.MethodGet, s.URL, http.NoBody)
	require.NoError(t, err)
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for n := range 3 {
		require.True(t, lines.Scan())
		require.Equal(t, fmt.Sprintf("data: %d", n), lines.Text())
		more <- struct{}{}
	}
	require.False(t, lines.Scan())
	record := s.read(t, deploy.Blue, 1)[0]
	require.True(t, record.Streamed)
	require.Equal(t, router.OK, record.Class)
}

// upload sends more than any buffer on the way holds, and the second half only when the application has the first.
func upload(t *testing.T, s *Stage) {
	const half = 32 << 20
	reached := make(chan struct{})
	s.give(t, one(t, deploy.Blue, "v1", start(t, func(w http.ResponseWriter, request *http.Request) {
		first, _ := io.CopyN(io.Discard, request.Body, half-1<<20)
		close(reached)
		rest, _ := io.Copy(io.Discard, request.Body)
		fmt.Fprint(w, first+rest)
	}).url))
	body, feed := io.Pipe()
	go func() {
		block := make([]byte, 1<<20)
		for n := range 2 * half / len(block) {
			if n == half/len(block) {
				<-reached
			}
			if _, err := feed.Write(block); err != nil {
				return
			}
		}
		feed.Close()
	}()
	request, err := http.NewRequestWithContext(bounded(t), http.MethodPut, s.URL, body)
	require.NoError(t, err)
	response, err := newClient(t).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(2*half), string(answer))
}
