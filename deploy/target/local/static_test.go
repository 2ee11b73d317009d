package local

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const navigation = "text/html,application/xhtml+xml,*/*;q=0.8"

func site(t *testing.T) (handler http.Handler, dir string) {
	t.Helper()
	dir = artifact(t, map[string]string{
		"dist/index.html":                "<title>shop</title>",
		"dist/docs/index.html":           "docs",
		"dist/assets/app-Bx3k9_1z.js":    "js",
		"dist/assets/app-bootstrap.js":   "js",
		"dist/assets/style.3f2a9c1d.css": "css",
		"dist/favicon.svg":               "<svg/>",
		"dist/.env":                      "SECRET=1",
		"dist/.git/config":               "secret",
		"dist/.well-known/security.txt":  "Contact: x",
		"secret.txt":                     "secret",
	})
	require.NoError(t, os.Symlink(filepath.Join(dir, "secret.txt"), filepath.Join(dir, "dist", "link.txt")))
	root, err := os.OpenRoot(filepath.Join(dir, "dist"))
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return &static{files: root.FS()}, dir
}

func ask(handler http.Handler, method, path string, header ...string) *http.Response {
	request := httptest.NewRequest(method, "http://site/", http.NoBody)
	request.URL.Path = path
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Result()
}

func TestStaticFiles(t *testing.T) {
	handler, _ := site(t)
	const forever, never = "public, max-age=31536000, immutable", "no-cache"
	for name, c := range map[string]struct {
		path, accept string
		status       int
		kind, cache  string
	}{
		"the page":                              {"/", navigation, 200, "text/html; charset=utf-8", never},
		"the page by name":                      {"/index.html", "*/*", 200, "text/html; charset=utf-8", never},
		"a path of the page":                    {"/orders/17", navigation, 200, "text/html; charset=utf-8", never},
		"a path of the page with a dot":         {"/users/a.b", navigation, 200, "text/html; charset=utf-8", never},
		"a path of the page without a browser":  {"/orders/17", "", 200, "text/html; charset=utf-8", never},
		"a directory with a page":               {"/docs/", navigation, 200, "text/html; charset=utf-8", never},
		"a directory without one is not listed": {"/assets/", navigation, 404, "text/plain; charset=utf-8", never},
		"a hashed script":                       {"/assets/app-Bx3k9_1z.js", "*/*", 200, "text/javascript; charset=utf-8", forever},
		"a hashed style":                        {"/assets/style.3f2a9c1d.css", "text/css", 200, "text/css; charset=utf-8", forever},
		"a script without a hash":               {"/assets/app-bootstrap.js", "*/*", 200, "text/javascript; charset=utf-8", never},
		"a script that is gone is not the page": {"/assets/app-old12345.js", "*/*", 404, "text/plain; charset=utf-8", never},
		"nor is it for who opens it":            {"/assets/app-old12345.js", navigation, 404, "text/plain; charset=utf-8", never},
		"an image":                              {"/favicon.svg", "image/*", 200, "image/svg+xml", never},
		"a missing file":                        {"/robots.txt", "*/*", 404, "text/plain; charset=utf-8", never},
		"a dotfile":                             {"/.env", navigation, 404, "text/plain; charset=utf-8", never},
		"a file of a dot directory":             {"/.git/config", navigation, 404, "text/plain; charset=utf-8", never},
		"what is well known":                    {"/.well-known/security.txt", "*/*", 200, "text/plain; charset=utf-8", never},
		"a file outside, by dots":               {"/../secret.txt", "*/*", 404, "text/plain; charset=utf-8", never},
		"a file outside, by a link":             {"/link.txt", "*/*", 404, "text/plain; charset=utf-8", never},
		"a name that is none":                   {"/a\x00b", "*/*", 200, "text/html; charset=utf-8", never},
	} {
		t.Run(name, func(t *testing.T) {
			response := ask(handler, http.MethodGet, c.path, "Accept", c.accept)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			assert.Equal(t, c.status, response.StatusCode)
			assert.Equal(t, c.kind, response.Header.Get("Content-Type"))
			assert.Equal(t, c.cache, response.Header.Get("Cache-Control"))
			assert.NotContains(t, string(body), "secret")
			assert.NotContains(t, string(body), "SECRET")
		})
	}
}

func TestABrowserIsAskedAgainByContentNotByTime(t *testing.T) {
	handler, dir := site(t)
	first := ask(handler, http.MethodGet, "/")
	tag := first.Header.Get("ETag")
	require.NotEmpty(t, tag)
	assert.Equal(t, http.StatusNotModified, ask(handler, http.MethodGet, "/", "If-None-Match", tag).StatusCode)

	// The other release, built earlier, with another page.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dist", "index.html"), []byte("<title>old</title>"), 0o600))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "dist", "index.html"), time.Unix(0, 0), time.Unix(0, 0)))
	root, err := os.OpenRoot(filepath.Join(dir, "dist"))
	require.NoError(t, err)
	defer root.Close()
	other := ask(&static{files: root.FS()}, http.MethodGet, "/", "If-None-Match", tag, "If-Modified-Since", time.Now().UTC().Format(http.TimeFormat))
	assert.Equal(t, http.StatusOK, other.StatusCode)
}

func TestHeadAndRangesWorkAndNothingElseDoes(t *testing.T) {
	handler, _ := site(t)
	head := ask(handler, http.MethodHead, "/")
	assert.Equal(t, "19", head.Header.Get("Content-Length"))
	part := ask(handler, http.MethodGet, "/", "Range", "bytes=1-5")
	body, _ := io.ReadAll(part.Body)
	assert.Equal(t, "title", string(body))
	post := ask(handler, http.MethodPost, "/")
	assert.Equal(t, http.StatusMethodNotAllowed, post.StatusCode)
	assert.Equal(t, "GET, HEAD", post.Header.Get("Allow"))
}
