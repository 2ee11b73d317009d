package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// static serves the files of a built front end, as a static host would: an unknown path that a person navigates to is
// the page itself, which finds its way by the path (a single-page application).
type static struct {
	files fs.FS // of an os.Root: nothing outside the directory is reachable, by symbolic links neither

	tags sync.Map // name -> ETag. The files do not change while they are served.
}

const index = "index.html"

// assets is where Vite puts files whose names are made of their content.
const assets = "/assets/"

// hashed are names with a hash of eight or more characters: app-Bx3k9_1z.js, app.3f2a9c1d.css. Words have no digits and
// no capitals after a dash; a hash that has neither is only cached less well.
var hashed = regexp.MustCompile(`[-.]([A-Za-z0-9_-]{8,})\.[A-Za-z0-9.]+$`)

// contentTypes are those that browsers insist on. The machine's tables, which mime.TypeByExtension reads, are often wrong
// about them or empty.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8", ".json": "application/json", ".map": "application/json",
	".webmanifest": "application/manifest+json", ".svg": "image/svg+xml", ".wasm": "application/wasm",
	".txt": "text/plain; charset=utf-8", ".xml": "text/xml; charset=utf-8", ".png": "image/png", ".jpg": "image/jpeg",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon", ".woff2": "font/woff2", ".pdf": "application/pdf",
}

// ServeHTTP implements http.Handler.
func (s *static) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	clean := path.Clean("/" + request.URL.Path)
	name := strings.TrimPrefix(clean, "/")
	switch {
	case hidden(clean):
	case s.file(w, request, name):
		return
	case s.file(w, request, path.Join(name, index)):
		return
	case navigates(request, clean) && s.file(w, request, index):
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	http.NotFound(w, request)
}

// hidden says whether a path is of a dotfile, which a build tool leaves behind and nobody means to publish. RFC 8615's
// directory is meant to be published.
func hidden(clean string) bool {
	for _, part := range strings.Split(clean, "/") {
		if strings.HasPrefix(part, ".") && part != ".well-known" {
			return true
		}
	}
	return false
}

// navigates says whether a person asks for a page, not a page for one of its files.
func navigates(request *http.Request, clean string) bool {
	if strings.HasPrefix(clean+"/", assets) {
		return false
	}
	accept := request.Header.Get("Accept")
	if strings.Contains(accept, "text/html") {
		return true
	}
	return (accept == "" || strings.Contains(accept, "*/*")) && path.Ext(clean) == ""
}

// file serves a regular file; false when there is none of that name.
func (s *static) file(w http.ResponseWriter, request *http.Request, name string) bool {
	if !fs.ValidPath(name) {
		return false
	}
	file, err := s.files.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	content, seeks := file.(io.ReadSeeker)
	if err != nil || !info.Mode().IsRegular() || !seeks {
		return false
	}
	tag, err := s.tag(name, content)
	if err != nil {
		return false
	}
	header := w.Header()
	header.Set("ETag", tag)
	header.Set("Cache-Control", cacheControl("/"+name))
	header.Set("X-Content-Type-Options", "nosniff")
	if kind := contentType(name); kind != "" {
		header.Set("Content-Type", kind)
	}
	// No modification time: after a rollback the right file is older than the one a browser has, and If-Modified-Since
	// would let the browser keep the wrong one.
	http.ServeContent(w, request, name, time.Time{}, content)
	return true
}

func contentType(name string) string {
	extension := strings.ToLower(path.Ext(name))
	if kind, ok := contentTypes[extension]; ok {
		return kind
	}
	return mime.TypeByExtension(extension)
}

func cacheControl(clean string) string {
	if match := hashed.FindStringSubmatch(clean); match != nil && strings.HasPrefix(clean, assets) &&
		strings.ContainsAny(match[1], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return "public, max-age=31536000, immutable"
	}
	return "no-cache" // kept, but asked for each time
}

func (s *static) tag(name string, content io.ReadSeeker) (string, error) {
	if tag, ok := s.tags.Load(name); ok {
		return tag.(string), nil
	}
	hash := sha256.New()
	_, err := io.Copy(hash, content)
	if _, back := content.Seek(0, io.SeekStart); back != nil {
		err = errors.Join(err, back)
	}
	if err != nil {
		return "", err
	}
	tag := `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`
	s.tags.Store(name, tag)
	return tag, nil
}
