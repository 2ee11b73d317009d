package router_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// The promise of the router, in figures: traffic moves back and forth between slots under clients that keep their
// connections and mostly POST, each old application is ended as soon as its slot is drained, and no request fails.
const (
	switches      = 60
	switchClients = 16
	perSwitch     = 50          // requests answered by each release at least
	switchBound   = time.Minute // 2 s on an idle machine with two cores
)

func TestNoRequestFailsWhileTrafficMovesBetweenSlots(t *testing.T) {
	r := router.New(router.Options{})
	base := public(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), switchBound)
	defer cancel()

	app := startApp(t, 0)
	give(t, r, one(t, deploy.Blue, "v0", app.url))
	clients := startClients(t, base)

	slot := deploy.Blue
	for n := 1; n <= switches; n++ {
		next := startApp(t, n)
		slot = slot.Other()
		require.NoError(t, r.Register(ctx, one(t, slot, fmt.Sprintf("v%d", n), next.url)))
		require.NoError(t, r.Shift(ctx, map[deploy.Slot]int{slot: 100}))
		left, err := r.Drain(ctx, slot.Other())
		require.NoError(t, err, "switch %d after %d requests", n, clients.requests.Load())
		require.Zero(t, left)
		app.stop() // at once and without grace: nothing may be left there
		require.NoError(t, r.Remove(ctx, slot.Other()))
		app = next
		clients.answered(t, perSwitch)
	}
	requests, failed := clients.stop()
	t.Logf("%d switches, %d clients, %d requests (%d POST), %d failed", switches, switchClients, requests, clients.posts.Load(), failed)
	require.Zero(t, failed, "first failure: %v", clients.first.Load())
	require.Greater(t, requests, int64(switches*perSwitch))
	require.NoError(t, ctx.Err())
}

// app is an application that can be killed: its listener and every connection are closed at once.
type app struct {
	url    string
	server *http.Server
}

func startApp(t *testing.T, n int) *app {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		time.Sleep(time.Duration(len(body)%5) * time.Millisecond)
		fmt.Fprintf(w, "v%d read %d", n, len(body))
	})}
	go func() { _ = server.Serve(listener) }()
	a := &app{url: "http://" + listener.Addr().String(), server: server}
	t.Cleanup(a.stop)
	return a
}

func (a *app) stop() { _ = a.server.Close() }

// clients send requests one after another, three POSTs to a GET, until stopped.
type clients struct {
	done                    chan struct{}
	wg                      sync.WaitGroup
	requests, posts, failed atomic.Int64
	first                   atomic.Value
}

func startClients(t *testing.T, base string) *clients {
	t.Helper()
	c := &clients{done: make(chan struct{})}
	for i := range switchClients {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 10 * time.Second}
		c.wg.Go(func() {
			defer client.CloseIdleConnections()
			for n := i; ; n++ {
				select {
				case <-c.done:
					return
				default:
				}
				if err := c.send(client, base, n); err != nil {
					c.failed.Add(1)
					c.first.CompareAndSwap(nil, err.Error())
				}
				c.requests.Add(1)
			}
		})
	}
	t.Cleanup(func() { c.stop() })
	return c
}

// send fails also when net/http had to send the request a second time.
func (c *clients) send(client *http.Client, base string, n int) error {
	method, body := http.MethodGet, []byte(nil)
	if n%4 != 0 {
		method, body = http.MethodPost, bytes.Repeat([]byte("x"), 1+n%4096)
		c.posts.Add(1)
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
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answered %d: %s", method, response.StatusCode, answer)
	case string(answer) != fmt.Sprintf("%s read %d", response.Header.Get(router.ReleaseHeader), len(body)):
		return fmt.Errorf("%s of release %s answered %q", method, response.Header.Get(router.ReleaseHeader), answer)
	case attempts != 1:
		return fmt.Errorf("%s was sent %d times", method, attempts)
	}
	return nil
}

// answered waits until so many more requests have been answered.
func (c *clients) answered(t *testing.T, more int64) {
	t.Helper()
	goal := c.requests.Load() + more
	eventually(t, func() bool { return c.requests.Load() >= goal }, "clients stopped getting answers")
}

func (c *clients) stop() (requests, failed int64) {
	select {
	case <-c.done:
	default:
		close(c.done)
	}
	c.wg.Wait()
	return c.requests.Load(), c.failed.Load()
}

// An application that closes idle connections quickly: Node does after 5 s, this one after 60 ms so that the test is
// short. The pauses are spread around that moment, so that requests meet the closing again and again.
func TestNoPOSTFailsOnAConnectionThatTheApplicationIsClosing(t *testing.T) {
	const idle = 60 * time.Millisecond
	var served atomic.Int64
	server := &http.Server{IdleTimeout: idle, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body)
		served.Add(1)
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	r := router.New(router.Options{})
	base := public(t, r)
	give(t, r, one(t, deploy.Blue, "v1", "http://"+listener.Addr().String()))

	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		client := newClient(t)
		wg.Go(func() {
			for n := range 30 {
				time.Sleep(idle - 5*time.Millisecond + time.Duration((i*30+n)%100)*100*time.Microsecond)
				method := []string{http.MethodPost, http.MethodPut, http.MethodGet, http.MethodDelete}[n%4]
				request, _ := http.NewRequest(method, base, bytes.NewReader([]byte("body")[:4*(1-n%4/2)]))
				response, err := client.Do(request)
				sent.Add(1)
				if err != nil {
					failed.Add(1)
					continue
				}
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d requests, %d failed", sent.Load(), failed.Load())
	require.Zero(t, failed.Load())
	require.Equal(t, sent.Load(), served.Load(), "a request was worked on twice or never")
	require.Zero(t, statusOf(t, r, deploy.Blue).Gateway)
}
