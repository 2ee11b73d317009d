package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// Server lets other processes drive a router.
type Server struct {
	router  *router.Router
	handler http.Handler

	mu       sync.Mutex
	listener net.Listener  // what Serve was given
	handed   chan struct{} // closed when another process has taken over
}

// NewServer makes the control of a router.
func NewServer(r *router.Router) *Server {
	s := &Server{router: r, handed: make(chan struct{})}
	mux := http.NewServeMux()
	for pattern, endpoint := range map[string]func(*http.Request) (any, error){
		"PUT /slots/{slot}":    s.put,
		"DELETE /slots/{slot}": s.remove,
		"PUT /weights":         s.weights,
		"POST /drain/{slot}":   s.drain,
		"POST /pause":          s.pause,
		"POST /resume":         s.resume,
		"GET /rules":           s.rules,
		"PUT /rules":           s.setRules,
		"PUT /mirror":          s.setMirror,
		"DELETE /mirror":       s.endMirror,
		"GET /status":          s.status,
		"GET /records/{slot}":  s.records,
	} {
		mux.HandleFunc(within(pattern), answer(endpoint))
	}
	mux.Handle(within("GET /metrics"), r.Metrics())
	mux.HandleFunc(within("POST /handover"), s.handover)
	mux.HandleFunc("/", answer(nowhere))
	s.handler = mux
	return s
}

// within puts a pattern's path under the protocol's version.
func within(pattern string) string {
	for i := range len(pattern) {
		if pattern[i] == ' ' {
			return pattern[:i+1] + version + pattern[i+1:]
		}
	}
	return version + pattern
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	s.handler.ServeHTTP(w, request)
}

// stopGrace is how long a control request may take to end; a drain is cut off.
const stopGrace = time.Second

// Serve answers on the listener until ctx ends or another process has taken over from the router.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	s.mu.Lock()
	s.listener = listener
	s.mu.Unlock()
	// Requests end with ctx: a drain would otherwise hold up the end of the router.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: stopGrace * 5, MaxHeaderBytes: 8 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		select {
		case <-s.handed:
			return nil
		default:
		}
		return fmt.Errorf("serve control on %s: %w", listener.Addr(), err)
	case <-s.handed:
		if mine, ok := listener.(*socket); ok {
			_ = mine.leave()
		}
	case <-ctx.Done():
	}
	cancel()
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer done()
	_ = server.Shutdown(grace)
	_ = server.Close()
	<-ended //nolint:errcheck // http.ErrServerClosed; the listener is closed then
	return nil
}

// answer writes what an endpoint returns as JSON.
func answer(endpoint func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		result, err := endpoint(request)
		write(w, result, err)
	}
}

func write(w http.ResponseWriter, result any, err error) {
	status := http.StatusOK
	if err != nil {
		var refused *router.Error
		if !errors.As(err, &refused) {
			refused = &router.Error{What: err.Error(), Do: "read the router's log"}
		}
		result, status = refused, statusOf(refused.Reason)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(result) // the client is gone
}

var done = struct{}{}

func (s *Server) put(request *http.Request) (any, error) {
	var registration router.Registration
	if err := decode(request.Body, &registration); err != nil {
		return nil, err
	}
	return done, s.router.Put(slotOf(request), registration)
}

func (s *Server) remove(request *http.Request) (any, error) {
	return done, s.router.Remove(request.Context(), slotOf(request))
}

func (s *Server) weights(request *http.Request) (any, error) {
	weights := map[deploy.Slot]int{}
	if err := decode(request.Body, &weights); err != nil {
		return nil, err
	}
	return done, s.router.Shift(request.Context(), weights)
}

func (s *Server) drain(request *http.Request) (any, error) {
	limit, err := limitOf(request)
	if err != nil {
		return nil, err
	}
	ctx := request.Context()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	drained, err := s.router.DrainSlot(ctx, slotOf(request))
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the client knows by what is left
	}
	return drained, err
}

func (s *Server) pause(request *http.Request) (any, error) {
	limit, err := limitOf(request)
	if err != nil {
		return nil, err
	}
	return done, s.router.Pause(limit)
}

func (s *Server) resume(*http.Request) (any, error) { return heldMessage{s.router.Resume()}, nil }

func (s *Server) rules(*http.Request) (any, error) { return s.router.Rules(), nil }

func (s *Server) setRules(request *http.Request) (any, error) {
	var routing router.Routing
	if err := decode(request.Body, &routing); err != nil {
		return nil, err
	}
	if routing.Rules == nil {
		return nil, &router.Error{Reason: router.Invalid, What: "there are no rules", Do: `send {"rules": []} to have none`}
	}
	return done, s.router.SetRules(request.Context(), routing)
}

func (s *Server) setMirror(request *http.Request) (any, error) {
	var mirror router.Mirror
	if err := decode(request.Body, &mirror); err != nil {
		return nil, err
	}
	return done, s.router.SetMirror(request.Context(), &mirror)
}

func (s *Server) endMirror(request *http.Request) (any, error) {
	return done, s.router.SetMirror(request.Context(), nil)
}

func (s *Server) status(*http.Request) (any, error) { return s.router.Stats(), nil }

func (s *Server) records(request *http.Request) (any, error) {
	p, err := parsePoll(request.URL.Query())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(request.Context(), p.wait)
	defer cancel()
	return s.router.Records(ctx, slotOf(request), p.from, p.limit)
}

func nowhere(request *http.Request) (any, error) {
	return nil, &router.Error{
		Reason: router.Unknown, What: fmt.Sprintf("there is no %s %s", request.Method, request.URL.Path), Do: "see the package documentation",
	}
}

func slotOf(request *http.Request) deploy.Slot { return deploy.Slot(request.PathValue("slot")) }

func limitOf(request *http.Request) (time.Duration, error) {
	var limit limitMessage
	if err := decode(request.Body, &limit); err != nil {
		return 0, err
	}
	return limit.duration()
}
