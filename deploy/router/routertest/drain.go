package routertest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/plane"
)

// busyApp answers requests to /slow when it is told to.
func busyApp(t *testing.T) (a *app, entered chan struct{}, finish func()) {
	t.Helper()
	entered, free := make(chan struct{}, 16), make(chan struct{})
	finish = sync.OnceFunc(func() { close(free) })
	t.Cleanup(finish)
	return start(t, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/slow" {
			entered <- struct{}{}
			<-free
		}
		_, _ = io.WriteString(w, "whole")
	}), entered, finish
}

// fetch gets a URL in the background.
func fetch(t *testing.T, url string) <-chan string {
	t.Helper()
	client, body := newClient(t), make(chan string, 1)
	request, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	go func() {
		response, err := client.Do(request)
		if err != nil {
			body <- err.Error()
			return
		}
		defer response.Body.Close()
		data, _ := io.ReadAll(response.Body)
		body <- string(data)
	}()
	return body
}

func drains(t *testing.T, s *Stage) {
	old, entered, finish := busyApp(t)
	s.give(t, one(t, deploy.Blue, "v1", old.url))
	body := fetch(t, s.URL+"/slow")
	<-entered
	s.give(t, one(t, deploy.Green, "v2", start(t, says("new")).url))
	require.Equal(t, 1, s.statusOf(t, deploy.Blue).InFlight)
	drained := make(chan error, 1)
	ctx := bounded(t)
	go func() {
		left, err := s.Drain(ctx, deploy.Blue)
		if err == nil && left != 0 {
			err = fmt.Errorf("%d left", left)
		}
		drained <- err
	}()
	text := get(t, newClient(t), s.URL).Body
	require.Equal(t, "new", text, "requests go on meanwhile")
	select {
	case err := <-drained:
		require.Fail(t, "a drain returned while a request was in flight", "%v", err)
	default:
	}
	finish()
	require.NoError(t, <-drained)
	require.Equal(t, "whole", <-body)
}

func deadline(t *testing.T, s *Stage) {
	old, entered, finish := busyApp(t)
	s.give(t, one(t, deploy.Blue, "v1", old.url))
	bodies := []<-chan string{fetch(t, s.URL+"/slow"), fetch(t, s.URL+"/slow")}
	<-entered
	<-entered
	s.give(t, one(t, deploy.Green, "v2", start(t, says("new")).url))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	left, err := s.Drain(ctx, deploy.Blue)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 2, left)
	finish()
	for _, body := range bodies {
		require.Equal(t, "whole", <-body, "a drain cuts no request off")
	}
	left, err = s.Drain(bounded(t), deploy.Blue)
	require.NoError(t, err)
	require.Zero(t, left)
}

func drainedRules(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 0)
	client := newClient(t)
	require.NoError(t, s.SetRules(bounded(t), router.Routing{Rules: []router.Rule{{Name: "r", Match: router.Match{Path: "/r"}, Slot: deploy.Green}}}))
	require.Equal(t, deploy.Green, s.slot(t, client, "/r"))
	_, err := s.Drain(bounded(t), deploy.Green)
	require.NoError(t, err)
	require.Equal(t, deploy.Blue, s.slot(t, client, "/r"))
	require.True(t, s.statusOf(t, deploy.Green).Draining)
	s.shift(t, 100)
	require.Equal(t, deploy.Green, s.slot(t, client, "/"), "a slot that was drained may serve again")
	s.shift(t, 0)
	require.Equal(t, deploy.Green, s.slot(t, client, "/r"), "a slot that had weight again is open to rules")
}

func idleConnections(t *testing.T, s *Stage) {
	var open atomic.Int64
	application := start(t, says("ok"))
	application.server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.give(t, one(t, deploy.Blue, "v1", application.url))
	client := newClient(t)
	for range 3 {
		s.slot(t, client, "/")
	}
	require.Positive(t, open.Load(), "connections are kept")
	s.give(t, one(t, deploy.Green, "v2", start(t, says("new")).url))
	_, err := s.Drain(bounded(t), deploy.Blue)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return open.Load() == 0 }, 2*time.Second, time.Millisecond, "connections stay open")
}

// The promise of a data plane, in figures: traffic moves back and forth between slots under clients that keep their
// connections and mostly POST, each old application is killed as soon as its slot is drained, and no request fails.
const (
	switches  = 20
	clients   = 8
	perSwitch = 100 // requests answered by each release at least
)

func switching(t *testing.T, s *Stage) {
	ctx := bounded(t)
	release := func(n int) *app {
		return start(t, func(w http.ResponseWriter, request *http.Request) {
			body, _ := io.ReadAll(request.Body)
			time.Sleep(time.Duration(len(body)%5) * time.Millisecond)
			fmt.Fprintf(w, "v%d read %d", n, len(body))
		})
	}
	old := release(0)
	s.give(t, one(t, deploy.Blue, "v0", old.url))
	load := sendMany(t, s.URL)
	slot := deploy.Blue
	for n := 1; n <= switches; n++ {
		next := release(n)
		slot = slot.Other()
		require.NoError(t, s.Register(ctx, one(t, slot, fmt.Sprintf("v%d", n), next.url)))
		require.NoError(t, s.Shift(ctx, map[deploy.Slot]int{slot: 100}))
		left, err := s.Drain(ctx, slot.Other())
		require.NoError(t, err, "switch %d", n)
		require.Zero(t, left)
		old.stop() // at once and without grace: nothing may be left there
		require.NoError(t, s.Remove(ctx, slot.Other()))
		old = next
		goal := load.sent.Load() + perSwitch
		require.Eventually(t, func() bool { return load.sent.Load() >= goal }, patience, time.Millisecond, "clients stopped getting answers")
	}
	load.stop()
	t.Logf("%d switches, %d clients, %d requests (%d POST), %d failed", switches, clients, load.sent.Load(), load.posts.Load(), load.failed.Load())
	require.Zero(t, load.failed.Load(), "first failure: %v", load.first.Load())
}

// load is clients that send requests one after another, three POSTs to a GET, until stopped.
type load struct {
	done                chan struct{}
	wg                  sync.WaitGroup
	sent, posts, failed atomic.Int64
	first               atomic.Value
	stop                func()
}

func sendMany(t *testing.T, base string) *load {
	t.Helper()
	l := &load{done: make(chan struct{})}
	l.stop = sync.OnceFunc(func() {
		close(l.done)
		l.wg.Wait()
	})
	for i := range clients {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: patience}
		l.wg.Go(func() {
			defer client.CloseIdleConnections()
			for n := i; ; n++ {
				select {
				case <-l.done:
					return
				default:
				}
				if err := l.send(client, base, n); err != nil {
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, err.Error())
				}
				l.sent.Add(1)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// send fails also when net/http had to send the request a second time.
func (l *load) send(client *http.Client, base string, n int) error {
	method, body := http.MethodGet, []byte(nil)
	if n%4 != 0 {
		method, body = http.MethodPost, bytes.Repeat([]byte("x"), 1+n%4096)
		l.posts.Add(1)
	}
	attempts := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GetConn: func(string) { attempts++ }})
	request, err := http.NewRequestWithContext(ctx, method, base, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	release := response.Header.Get(router.ReleaseHeader)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answered %d: %s", method, response.StatusCode, answer)
	case string(answer) != fmt.Sprintf("%s read %d", release, len(body)):
		return fmt.Errorf("%s of release %s answered %q", method, release, answer)
	case attempts != 1:
		return fmt.Errorf("%s was sent %d times", method, attempts)
	}
	return nil
}

// An application that closes every connection on which a second request arrives, after having worked on it.
func unrepeatable(t *testing.T, s *Stage) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	var worked atomic.Int64
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				reader := bufio.NewReader(connection)
				for n := 0; ; n++ {
					request, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					if request.Method != http.MethodGet {
						worked.Add(1)
					}
					if n > 0 {
						return
					}
					_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}()
		}
	}()
	s.give(t, one(t, deploy.Blue, "v1", "http://"+listener.Addr().String()))
	client, sent := newClient(t), 0
	for range 5 {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			var body io.Reader = http.NoBody
			if method != http.MethodGet {
				body = strings.NewReader("x")
				sent++
			}
			request, err := http.NewRequestWithContext(bounded(t), method, s.URL, body)
			require.NoError(t, err)
			response, err := client.Do(request)
			require.NoError(t, err, method)
			response.Body.Close()
			assert.Equal(t, http.StatusOK, response.StatusCode, method)
		}
	}
	require.EqualValues(t, sent, worked.Load(), "each was worked on once")
}

func restart(t *testing.T, s *Stage) {
	s.both(t, start(t, says("ok")).url, 40)
	require.NoError(t, s.SetRules(bounded(t), router.Routing{Rules: []router.Rule{{Name: "r", Match: router.Match{Path: "/r"}, Slot: deploy.Green}}}))
	client := newClient(t)
	before := s.draw(t, client, "/")
	client.CloseIdleConnections()
	s.Restart(t)
	require.Equal(t, before, s.draw(t, client, "/"), "the same cohorts are where they were")
	require.Equal(t, deploy.Green, s.slot(t, client, "/r"))
	require.Equal(t, "v2", s.statusOf(t, deploy.Green).Release)
	require.Equal(t, 40, s.statusOf(t, deploy.Green).Weight)
	s.shift(t, 100)
	require.Len(t, s.draw(t, client, "/"), people, "it goes on from there")
}

func pauses(t *testing.T, s *Stage) {
	s.give(t, one(t, deploy.Blue, "v1", start(t, says("ok")).url))
	if err := s.Pause(bounded(t), patience); err != nil {
		var refused *router.Error
		require.True(t, errors.As(err, &refused), "%v", err)
		require.NotContains(t, s.Abilities(), plane.Pausing)
		require.Equal(t, deploy.Blue, s.slot(t, newClient(t), "/"))
		return
	}
	require.Contains(t, s.Abilities(), plane.Pausing)
	var bodies []<-chan string
	for range 4 {
		bodies = append(bodies, fetch(t, s.URL))
	}
	require.Eventually(t, func() bool {
		status, err := s.Status(t.Context())
		return err == nil && status.Held == len(bodies)
	}, patience, time.Millisecond, "requests are held")
	held, err := s.Resume(bounded(t))
	require.NoError(t, err)
	require.True(t, held)
	for _, body := range bodies {
		require.Equal(t, "ok", <-body)
	}
}
