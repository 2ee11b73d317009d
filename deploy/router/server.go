package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// Serve answers on the listener until ctx ends, then lets requests in flight finish for Options.Grace and returns nil.
// What is still in flight after that is cut off, which is an error that says how many.
//
// Ending the router is never part of a deployment: http.Server.Shutdown closes idle client connections, and a client
// that writes into one at that moment loses its request.
func (r *Router) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: readHeader,
		IdleTimeout:       clientIdle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Grace)
	defer cancel()
	r.gate.release() // held requests must be answered too
	err := server.Shutdown(grace)
	left := r.Idle(grace) // Shutdown does not know upgraded connections
	closed := server.Close()
	<-ended //nolint:errcheck // http.ErrServerClosed; the listener is closed then
	if left > 0 {
		return fmt.Errorf("stop serving on %s: %d requests cut off after %s", listener.Addr(), left, r.options.Grace)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // only connections without a request were left
	}
	return errors.Join(err, closed)
}
