package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// Server lets other processes drive a router.
type Server struct {
	router  *router.Router
	handler http.Handler
}

// NewServer makes the control of a router.
func NewServer(r *router.Router) *Server {
	s := &Server{router: r}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /slots/{slot}", answer(s.put))
	mux.HandleFunc("DELETE /slots/{slot}", answer(s.remove))
	mux.HandleFunc("PUT /weights", answer(s.weights))
	mux.HandleFunc("POST /drain/{slot}", answer(s.drain))
	mux.HandleFunc("POST /pause", answer(s.pause))
	mux.HandleFunc("POST /resume", answer(s.resume))
	mux.HandleFunc("GET /status", answer(s.status))
	mux.HandleFunc("/", answer(nowhere))
	s.handler = mux
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	s.handler.ServeHTTP(w, request)
}

// stopGrace is how long a control request may take to end; a drain is cut off.
const stopGrace = time.Second

// Serve answers on the listener until ctx ends.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	// Requests end with ctx: a drain would otherwise hold up the end of the router.
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: stopGrace * 5, MaxHeaderBytes: 8 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve control on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	_ = server.Shutdown(grace)
	_ = server.Close()
	<-ended //nolint:errcheck // http.ErrServerClosed; the listener is closed then
	return nil
}

// Listen makes the socket, which only its owner can connect to. A socket that a dead router left behind is replaced; one
// that is answered is an error.
//
// The socket is made under another name and renamed once its permissions are set: between bind and chmod it would have
// those of the umask, and a rename cannot delete a socket that another router has just made.
func Listen(path string) (net.Listener, error) {
	dialer := net.Dialer{Timeout: time.Second}
	if connection, err := dialer.DialContext(context.Background(), "unix", path); err == nil {
		_ = connection.Close()
		return nil, fmt.Errorf("listen on %s: another router answers there; stop it or use another socket", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("listen on %s: it exists and is no socket; move it away or use another path", path)
	}
	making := filepath.Join(filepath.Dir(path), "."+rand.Text()[:8])
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: making, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(making, 0o600)
	if err == nil {
		err = os.Rename(making, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), listener.Close(), os.Remove(making))
	}
	return &socket{UnixListener: listener, path: path}, nil
}

// socket removes its file when it is closed.
type socket struct {
	*net.UnixListener
	path string
}

// Close implements net.Listener.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if err == nil {
		_ = os.Remove(s.path)
	}
	return err
}

// answer writes what an endpoint returns as JSON.
func answer(endpoint func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		result, err := endpoint(request)
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
	left, err := s.router.Drain(ctx, slotOf(request))
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the client knows by what is left
	}
	return leftMessage{left}, err
}

func (s *Server) pause(request *http.Request) (any, error) {
	limit, err := limitOf(request)
	if err != nil {
		return nil, err
	}
	return done, s.router.Pause(limit)
}

func (s *Server) resume(*http.Request) (any, error) { return heldMessage{s.router.Resume()}, nil }

func (s *Server) status(*http.Request) (any, error) { return s.router.Stats(), nil }

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
