package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// readHeader bounds clients that send their headers slowly.
const readHeader = 10 * time.Second

// server is a unit of static files, served by this process: there is no application to start.
type server struct {
	unit     deploy.Unit
	http     *http.Server
	root     *os.Root
	listener net.Listener
	ended    chan struct{}
	err      error // written before ended is closed
}

func startStatic(ctx context.Context, u deploy.Unit) (*server, error) {
	dir, err := directory(u, u.Static)
	if err != nil {
		return nil, fmt.Errorf("static files: %w; does the build make them there? correct serve.static", err)
	}
	if _, err := os.Stat(filepath.Join(dir, index)); err != nil {
		return nil, fmt.Errorf("static files: %w; a page needs one", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	listener, err := listen(ctx, u.Port)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s := &server{
		unit: u, root: root, listener: listener, ended: make(chan struct{}),
		http: &http.Server{Handler: &static{files: root.FS()}, ReadHeaderTimeout: readHeader},
	}
	if s.unit.Stop == 0 {
		s.unit.Stop = DefaultStop
	}
	go func() {
		s.err = s.http.Serve(listener)
		close(s.ended)
	}()
	return s, nil
}

func (s *server) component() string { return s.unit.Component }

func (s *server) endpoint() *url.URL {
	return &url.URL{Scheme: "http", Host: s.listener.Addr().String()}
}

func (s *server) logs() string { return "" }

func (s *server) alive() error {
	select {
	case <-s.ended:
		return fmt.Errorf("its file server ended: %w", s.err)
	default:
		return nil
	}
}

func (s *server) stop(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, s.unit.Stop)
	defer cancel()
	err := s.http.Shutdown(grace)
	_ = s.http.Close()
	<-s.ended
	if ctx.Err() == nil {
		err = nil // the grace is over: cut off, as a process would be
	}
	return errors.Join(err, s.root.Close())
}
