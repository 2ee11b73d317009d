package router_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

var toGreen = map[deploy.Slot]int{deploy.Green: 100}

func TestDrainWaitsForASlowRequest(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		_, _ = w.Write([]byte("old"))
	}).URL))
	body := make(chan string, 1)
	client := newClient(t)
	go func() {
		_, text := get(t, client, base)
		body <- text
	}()
	<-entered
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", backend(t, says("new")).URL)))
	require.NoError(t, r.Shift(t.Context(), toGreen))
	_, text := get(t, newClient(t), base)
	require.Equal(t, "new", text)

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	left, err := r.Drain(short, deploy.Blue)
	require.Equal(t, 1, left)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "drain slot blue: 1 requests in flight")

	drained := make(chan int, 1)
	go func() {
		left, _ := r.Drain(context.Background(), deploy.Blue)
		drained <- left
	}()
	close(finish)
	require.Zero(t, <-drained)
	require.Equal(t, "old", <-body)
}

func TestAWebSocketStaysOnItsSlotThroughASwitch(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", echo(t, "blue").URL))
	socket, response, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http"), nil)
	require.NoError(t, err)
	defer socket.Close()
	require.Equal(t, "blue", response.Header.Get(router.SlotHeader))
	require.Equal(t, "blue: before", say(t, socket, "before"))

	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", echo(t, "green").URL)))
	require.NoError(t, r.Shift(t.Context(), toGreen))
	require.Equal(t, "blue: after", say(t, socket, "after"))
	require.Equal(t, 1, statusOf(t, r, deploy.Blue).InFlight, "it counts as in flight")

	drained := make(chan int, 1)
	go func() {
		left, _ := r.Drain(context.Background(), deploy.Blue)
		drained <- left
	}()
	require.NoError(t, socket.Close())
	require.Zero(t, <-drained)
	require.Empty(t, r.Latencies(deploy.Blue), "the length of a conversation is no latency")
}

func TestAWebSocketOutlivesTheRemovalOfItsSlot(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", echo(t, "blue").URL))
	socket, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(base, "http"), nil)
	require.NoError(t, err)
	defer socket.Close()
	require.NoError(t, r.Register(t.Context(), one(t, deploy.Green, "v2", echo(t, "green").URL)))
	require.NoError(t, r.Shift(t.Context(), toGreen))
	require.NoError(t, r.Remove(t.Context(), deploy.Blue))
	require.Equal(t, "blue: still", say(t, socket, "still"), "the application ends it, with a close frame of its own")
}

// echo is an application that answers every message of a WebSocket with its name and the message.
func echo(t *testing.T, name string) *httptest.Server {
	return backend(t, func(w http.ResponseWriter, request *http.Request) {
		socket, err := (&websocket.Upgrader{}).Upgrade(w, request, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		for {
			kind, message, err := socket.ReadMessage()
			if err != nil {
				return
			}
			_ = socket.WriteMessage(kind, append([]byte(name+": "), message...))
		}
	})
}

func say(t *testing.T, socket *websocket.Conn, message string) string {
	t.Helper()
	require.NoError(t, socket.WriteMessage(websocket.TextMessage, []byte(message)))
	_, answer, err := socket.ReadMessage()
	require.NoError(t, err)
	return string(answer)
}

func TestChangesThatCannotBeAreRefused(t *testing.T) {
	r := router.New(router.Options{})
	give(t, r, one(t, deploy.Blue, "v1", "http://127.0.0.1:1"))
	ctx := t.Context()
	for what, change := range map[string]struct {
		err    error
		reason router.Reason
		text   string
	}{
		"shift to nobody":      {r.Shift(ctx, toGreen), router.Unknown, "slot green is not registered; register an instance in it first"},
		"shift of 90 percent":  {r.Shift(ctx, map[deploy.Slot]int{deploy.Blue: 90}), router.Invalid, "the weights add up to 90; make them add up to 100"},
		"shift of -1 percent":  {r.Shift(ctx, map[deploy.Slot]int{deploy.Blue: -1}), router.Invalid, "weight -1 of slot blue is not a percentage"},
		"remove what serves":   {r.Remove(ctx, deploy.Blue), router.Conflict, "slot blue still gets 100 % of the traffic; shift it to another slot first"},
		"drain what serves":    {second(r.Drain(ctx, deploy.Blue)), router.Conflict, "slot blue still gets 100 %"},
		"replace what serves":  {r.Register(ctx, one(t, deploy.Blue, "v2", "http://127.0.0.1:2")), router.Conflict, "slot blue serves release v1 with 100 % of the traffic"},
		"register no endpoint": {r.Register(ctx, deploy.Instance{Slot: deploy.Green, Release: deploy.Release{Version: "v2", Units: []deploy.Unit{{Component: "app", Routes: []string{"/"}}}}}), router.Invalid, "component app of release v2 has routes but no endpoint"},
		"register no routes":   {r.Register(ctx, deploy.Instance{Slot: deploy.Green, Release: deploy.Release{Version: "v2"}}), router.Invalid, `release "v2" has no component with routes`},
		"register in nowhere":  {r.Register(ctx, one(t, "a/b", "v2", "http://127.0.0.1:2")), router.Invalid, `"a/b" is not the name of a slot`},
	} {
		var refused *router.Error
		require.True(t, errors.As(change.err, &refused), "%s: %v", what, change.err)
		require.Equal(t, change.reason, refused.Reason, what)
		require.ErrorContains(t, change.err, change.text, what)
	}
	require.Equal(t, 100, statusOf(t, r, deploy.Blue).Weight, "nothing was changed")
}

func TestRepeatingAChangeChangesNothing(t *testing.T) {
	r := router.New(router.Options{})
	instance := one(t, deploy.Blue, "v1", "http://127.0.0.1:1")
	give(t, r, instance)
	give(t, r, instance)
	require.NoError(t, r.Remove(t.Context(), deploy.Green))
	left, err := r.Drain(t.Context(), deploy.Green)
	require.NoError(t, err)
	require.Zero(t, left)
}

func second[T any](_ T, err error) error { return err }
