package router_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

func TestADrainClosesWebSocketsAndEndsStreamsAtItsDeadline(t *testing.T) {
	r := router.New(router.Options{Jitter: 100 * time.Millisecond})
	base := public(t, r)
	left := make(chan error, 8)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: first\n\n")
			_ = http.NewResponseController(w).Flush()
			<-request.Context().Done()
			left <- nil
			return
		}
		socket, err := (&websocket.Upgrader{}).Upgrade(w, request, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		_ = socket.WriteMessage(websocket.BinaryMessage, make([]byte, 100_000)) // a frame of several reads
		for {
			if _, _, err := socket.ReadMessage(); err != nil {
				left <- err
				return
			}
		}
	}).URL))
	const n = 4
	var sockets [n]*websocket.Conn
	for i := range sockets {
		socket, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http"), nil)
		require.NoError(t, err)
		defer socket.Close()
		_, message, err := socket.ReadMessage()
		require.NoError(t, err)
		require.Len(t, message, 100_000)
		sockets[i] = socket
	}
	response, err := newClient(t).Get(base + "/events")
	require.NoError(t, err)
	defer response.Body.Close()
	events := bufio.NewReader(response.Body)
	line, err := events.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "data: first\n", line)
	s := statusOf(t, r, deploy.Blue)
	require.Equal(t, []int{n, 1}, []int{s.WebSockets, s.Events})

	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, says("new")).URL)))
	require.NoError(t, r.Shift(t.Context(), toGreen))
	read := make(chan error, n)
	for _, socket := range sockets {
		go func() {
			_, _, err := socket.ReadMessage()
			read <- err // and the client library answers the close frame
		}()
	}
	// What is left when the deadline passes would be an error: the end of all conversations takes a round trip each, and
	// there are seconds for it.
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	drained, err := r.DrainSlot(ctx, deploy.Blue)
	require.NoError(t, err)
	require.Equal(t, router.Drained{WebSockets: n, Events: 1}, drained)
	for range n {
		require.True(t, websocket.IsCloseError(<-read, websocket.CloseServiceRestart))
	}
	_, err = io.ReadAll(events)
	require.NoError(t, err, "a stream of events ends as a whole answer does")
	for range n + 1 {
		err := <-left
		require.True(t, err == nil || websocket.IsCloseError(err, websocket.CloseServiceRestart), "the application is told too: %v", err)
	}
	s = statusOf(t, r, deploy.Blue)
	require.EqualValues(t, n+1, s.Cut)
	require.Zero(t, s.InFlight+s.WebSockets+s.Events)
	require.Zero(t, s.Truncated+s.Aborted+s.Gateway)
}

func TestACanceledDrainCutsNothing(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", echo(t, "blue").URL))
	socket, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http"), nil)
	require.NoError(t, err)
	defer socket.Close()
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", echo(t, "green").URL)))
	require.NoError(t, r.Shift(t.Context(), toGreen))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	time.AfterFunc(20*time.Millisecond, cancel)
	drained, err := r.DrainSlot(ctx, deploy.Blue)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, router.Drained{Left: 1}, drained)
	require.Equal(t, "blue: still", say(t, socket, "still"))
}

func TestADrainTakesASlotOutOfTheRules(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	old, young := backend(t, says("old")), backend(t, says("young"))
	give(t, r, one(t, deploy.Blue, "v1", old.URL))
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", young.URL)))
	require.NoError(t, r.SetRules(t.Context(), router.Routing{Rules: []router.Rule{{Name: "all", Slot: deploy.Green}}}))
	says := func(want string) {
		t.Helper()
		_, body := get(t, newClient(t), base)
		require.Equal(t, want, body)
	}
	says("young")
	left, err := r.Drain(t.Context(), deploy.Green)
	require.NoError(t, err)
	require.Zero(t, left)
	says("old")
	s := r.Stats()
	require.True(t, s.Slots[1].Draining)
	require.False(t, s.Rules[0].Active)
	require.EqualValues(t, 1, s.Slots[1].ByRule)

	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", young.URL)), "registered again, it is there again")
	says("young")
	_, err = r.Drain(t.Context(), deploy.Green)
	require.NoError(t, err)
	require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 99, deploy.Green: 1}))
	says("young")
	require.NoError(t, r.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	require.NoError(t, r.Remove(t.Context(), deploy.Green))
	says("old")
	require.Error(t, second(r.Drain(t.Context(), deploy.Blue)))
	var refused *router.Error
	require.True(t, errors.As(second(r.Drain(t.Context(), deploy.Blue)), &refused))
}

func TestASilentWebSocketIsClosed(t *testing.T) {
	r := router.New(router.Options{Limits: router.Limits{Silence: 150 * time.Millisecond}})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", echo(t, "blue").URL))
	socket, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http"), nil)
	require.NoError(t, err)
	defer socket.Close()
	_, _, err = socket.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseServiceRestart), "%v", err)
	eventually(t, func() bool { return statusOf(t, r, deploy.Blue).InFlight == 0 }, "nothing is left of it")
}
