package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// static is a unit that is a directory of files, served by this process.
type static struct {
	spec     deploy.Unit
	root     *os.Root
	listener net.Listener
	server   *http.Server
}

func startStatic(ctx context.Context, spec deploy.Unit) (unit, error) {
	dir := filepath.Join(spec.Artifact, filepath.FromSlash(spec.Dir), filepath.FromSlash(spec.Static))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open static files: %w; does the build write them to %q?", err, spec.Static)
	}
	if _, err := root.Stat("index.html"); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("the build left no index.html in %q", spec.Static)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(spec.Port)))
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("listen for static files: %w", err)
	}
	s := &static{spec: spec, root: root, listener: listener}
	s.server = &http.Server{Handler: Files(root.FS()), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

func (s *static) component() string { return s.spec.Component }
func (s *static) address() string   { return s.listener.Addr().String() }
func (s *static) alive() error      { return nil }
func (s *static) logs() string      { return "" }

func (s *static) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, defaultStop)
	defer cancel()
	err := s.server.Shutdown(ctx)
	return errors.Join(err, s.server.Close(), s.root.Close())
}

// hashed matches file names that carry a hash of their content, as Vite writes them: index-CBtVo7_P.js.
var hashed = regexp.MustCompile(`[-.][A-Za-z0-9_-]{8,}\.[a-z0-9]+$`)

// Files serves a built frontend: files as they are, the start page for every path that a browser navigates to and that
// is no file (the application's own routes), nothing that begins with a dot, no directory listing. Files with a hash in
// their name are cached for ever, everything else is asked for again.
func Files(files fs.FS) http.Handler {
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "static files are only read", http.StatusMethodNotAllowed)
			return
		}
		if hidden(name) {
			http.NotFound(w, r)
			return
		}
		info, err := fs.Stat(files, name)
		switch {
		case err == nil && !info.IsDir() && strings.HasPrefix(name, "assets/") && hashed.MatchString(name):
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		case err == nil && !info.IsDir():
			w.Header().Set("Cache-Control", "no-cache")
		case strings.Contains(r.Header.Get("Accept"), "text/html") || path.Ext(name) == "":
			name = "index.html"
			w.Header().Set("Cache-Control", "no-cache")
		default:
			http.NotFound(w, r)
			return
		}
		if name == "index.html" { // the file server would redirect /index.html to /
			name = ""
		}
		r = r.Clone(r.Context())
		r.URL.Path = "/" + name
		serve.ServeHTTP(w, r)
	})
}

func hidden(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if strings.HasPrefix(part, ".") {
			return true
		}
	}
	return false
}
