package traffic

import (
	"io"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

var files = fstest.MapFS{
	"tests/photo.jpg": {Data: []byte("\xff\xd8\xff\xe0 photo")},
	"tests/trap.txt":  {Data: []byte("--" + boundary + "--")},
}

func TestRequestsOfTheConfigurationAreReadyToSend(t *testing.T) {
	ready, err := FromConfig(files, []config.Request{
		{Path: "/"},
		{Name: "describe", Method: "post", Path: "/api/describe?x=1", JSON: map[string]any{"text": "hello"}, Expect: 200},
		{Name: "note", Method: "PUT", Path: "/note", Body: "text", Headers: map[string]string{"Content-Type": "text/markdown", "Host": "shop.example"}},
	})
	require.NoError(t, err)
	require.Equal(t, Request{Name: "GET /", Method: "GET", Path: "/"}, ready[0])
	require.Equal(t, Request{
		Name: "describe", Method: "POST", Path: "/api/describe?x=1", Body: []byte(`{"text":"hello"}`), ContentType: "application/json", Expect: 200,
	}, ready[1])
	sent, err := ready[2].To(t.Context(), "http://127.0.0.1:1/")
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:1/note", sent.URL.String())
	require.Equal(t, "text/markdown", sent.Header.Get("Content-Type"))
	require.Equal(t, "shop.example", sent.Host)
}

func TestAFileIsSentAsAFormWouldAndAlwaysTheSame(t *testing.T) {
	request := config.Request{Name: "upload", Method: "POST", Path: "/", File: &config.File{Field: "photo", Path: "./tests/photo.jpg"}}
	ready, err := FromConfig(files, []config.Request{request, request})
	require.NoError(t, err)
	require.Equal(t, ready[0], ready[1])
	sent, err := ready[0].To(t.Context(), "http://127.0.0.1:1")
	require.NoError(t, err)
	file, header, err := sent.FormFile("photo")
	require.NoError(t, err)
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, files["tests/photo.jpg"].Data, content)
	require.Equal(t, "photo.jpg", header.Filename)
	require.Equal(t, "image/jpeg", header.Header.Get("Content-Type"))
}

func TestRequestsThatCannotWorkAreAllNamed(t *testing.T) {
	_, err := FromConfig(files, []config.Request{
		{Name: "relative", Path: "api"},
		{Name: "fine", Path: "/"},
		{Name: "two bodies", Path: "/", Body: "x", JSON: 1},
		{Name: "missing", Path: "/", File: &config.File{Path: "none.jpg"}},
		{Name: "outside", Path: "/", File: &config.File{Path: "../secret"}},
		{Name: "trap", Path: "/", File: &config.File{Path: "tests/trap.txt"}},
		{Name: "no json", Path: "/", JSON: map[any]any{1: 2}},
	})
	for _, text := range []string{
		`rehearsal.requests[0] relative: path "api" does not begin with a slash; write "/api"`,
		"rehearsal.requests[2] two bodies: it has more than one of body, json and file",
		"rehearsal.requests[3] missing: read the file to upload: open none.jpg",
		"rehearsal.requests[4] outside: file ../secret is outside the application's root",
		"use another file",
		"use text keys",
	} {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), "fine")
}

func TestWithoutAnExpectationAnythingBelow400Is(t *testing.T) {
	require.True(t, Request{}.Accepts(http.StatusFound))
	require.False(t, Request{}.Accepts(http.StatusNotFound))
	require.True(t, Request{Expect: 404}.Accepts(http.StatusNotFound))
	require.False(t, Request{Expect: 201}.Accepts(http.StatusOK))
}
