package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"
)

// serving is one listener and the connections that came from it.
type serving struct {
	listener net.Listener
	open     flight // connections of clients, without upgraded ones
}

// accessFlush bounds how long the end of a router waits for the disk of its access log.
const accessFlush = time.Second

// Serve answers on the listener until ctx ends, then lets requests in flight finish for Options.Grace and returns nil.
// WebSockets and streams of events are ended within that time. What is still in flight after it is cut off, which is an
// error that says how many. When another process takes over (Handover), Serve returns once the last client has moved there.
//
// Ending the router is never part of a deployment: http.Server.Shutdown closes idle client connections, and a client
// that writes into one at that moment loses its request.
func (r *Router) Serve(ctx context.Context, listener net.Listener) error {
	s := &serving{listener: listener}
	r.servingMu.Lock()
	r.serving = append(r.serving, s)
	r.servingMu.Unlock()
	defer func() {
		r.servingMu.Lock()
		r.serving = slices.DeleteFunc(r.serving, func(other *serving) bool { return other == s })
		r.servingMu.Unlock()
	}()
	if r.access != nil {
		writing, stop := context.WithCancel(context.Background())
		written := make(chan struct{})
		go func() {
			r.access.run(writing, accessFlush)
			close(written)
		}()
		defer func() {
			stop()
			select {
			case <-written:
			case <-time.After(2 * accessFlush): // a write that does not return
			}
		}()
	}
	server := r.server(s)
	ended := make(chan error, 1)
	go func() {
		if r.options.TLS != nil {
			ended <- server.ServeTLS(listener, "", "")
			return
		}
		ended <- server.Serve(listener)
	}()
	select {
	case err := <-ended:
		if r.retiring.Load() {
			return r.seeOff(ctx, server, s)
		}
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	err := r.shutDown(ctx, server, listener)
	<-ended //nolint:errcheck // http.ErrServerClosed; the listener is closed then
	return err
}

func (r *Router) server(s *serving) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(r.options.PlainHTTP2)
	return &http.Server{
		Handler:           r,
		Protocols:         protocols,
		TLSConfig:         r.options.TLS,
		ReadHeaderTimeout: r.limits.Header,
		WriteTimeout:      max(r.limits.Write, r.options.ResponseTimeout+time.Second), // an exchange moves it along
		IdleTimeout:       r.limits.Idle,
		MaxHeaderBytes:    r.limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.open.add()
			case http.StateClosed, http.StateHijacked:
				s.open.done()
			default: // active and idle
			}
		},
	}
}

func (r *Router) shutDown(ctx context.Context, server *http.Server, listener net.Listener) error {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Grace)
	defer cancel()
	r.Resume() // held requests must be answered too
	settled := make(chan int, 1)
	go func() { settled <- r.settle(grace) }() // Shutdown does not know upgraded connections, and waits for streams
	err := server.Shutdown(grace)
	left := <-settled
	closed := server.Close()
	if left > 0 {
		return fmt.Errorf("stop serving on %s: %d requests cut off after %s", listener.Addr(), left, r.options.Grace)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // only connections without a request were left
	}
	return errors.Join(err, closed)
}

// settle waits for every slot, cutting conversations before ctx's deadline, and returns how many requests were left.
func (r *Router) settle(ctx context.Context) (left int) {
	entries := r.current().entries
	drained := make(chan Drained, len(entries))
	for _, e := range entries {
		go func() { drained <- r.empty(ctx, e.slot) }()
	}
	for range entries {
		left += (<-drained).Left
	}
	return left
}

// seeOff serves the clients that are still connected after another process has taken over. None of their connections is
// closed before its idle time is over: each is told with its next answer that it is the last one.
func (r *Router) seeOff(ctx context.Context, server *http.Server, s *serving) error {
	bound, cancel := context.WithTimeout(ctx, r.limits.Idle+r.options.Grace)
	defer cancel()
	settled := make(chan int, 1)
	go func() { settled <- r.settle(bound) }()
	connections := s.open.wait(bound)
	<-settled
	late, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*closeGrace)
	defer stop()
	left := r.settle(late) // a conversation may have begun on one of the last connections
	err := server.Close()
	if left > 0 {
		return fmt.Errorf("give way to another router: %d requests on %d connections cut off after %s", left, connections, r.limits.Idle+r.options.Grace)
	}
	return err
}
