package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Images tests the images.
type Images struct {
	// +private
	Tests *Tests
}

// Images tests the images.
func (t *Tests) Images() *Images { return &Images{Tests: t} }

// Start starts the images of both sample applications.
//
// +check
// +cache="session"
func (i *Images) Start(ctx context.Context) error {
	for _, source := range []*dagger.Directory{i.Tests.Sample, i.Tests.Single} {
		if err := dag.Pipeline(dagger.PipelineOpts{Source: source}).Images().Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Backend is not root, has what the application needs at run time, and nothing of its development.
//
// +check
// +cache="session"
func (i *Images) Backend(ctx context.Context) error {
	image := dag.Pipeline(dagger.PipelineOpts{Source: i.Tests.Sample, Repository: "https://example.com/shop"}).
		Image("backend", dagger.PipelineImageOpts{Release: "v1.0.0"})
	const script = `id -u; exiftool -ver >/dev/null && ffprobe -version >/dev/null && python -c "import metaextract, magic" && echo works
if python -c "import pytest" 2>/dev/null; then echo pytest; fi; ls /app/backend`
	text, err := image.WithExec([]string{"sh", "-c", script}).Stdout(ctx)
	if err != nil {
		return err
	}
	if text != "65532\nworks\n" {
		return fmt.Errorf("the image says:\n%s", text)
	}
	labels, err := image.Labels(ctx)
	if err != nil {
		return err
	}
	all := ""
	for _, label := range labels {
		name, err := label.Name(ctx)
		if err != nil {
			return err
		}
		value, err := label.Value(ctx)
		if err != nil {
			return err
		}
		all += name + "=" + value + "\n"
	}
	if err := contains(all, "image.version=v1.0.0\n", "image.title=metaextract-backend\n", "image.source=https://example.com/shop\n"); err != nil {
		return err
	}
	size, err := image.AsTarball().Size(ctx)
	if err == nil && size < 1<<20 {
		err = fmt.Errorf("the tarball has %d bytes", size)
	}
	return err
}

// Frontend serves the bundle: the page for every path of it, hashed names for ever, no dotfiles.
//
// +check
// +cache="session"
func (i *Images) Frontend(ctx context.Context) error {
	image := dag.Pipeline(dagger.PipelineOpts{Source: i.Tests.Sample}).Image("frontend")
	names, err := image.Directory("/app/frontend/dist/assets").Entries(ctx)
	if err != nil {
		return err
	}
	service, err := image.WithNewFile("/app/frontend/dist/.env", "SECRET=1").AsService().Start(ctx)
	if err != nil {
		return err
	}
	defer func() { _, _ = service.Stop(context.WithoutCancel(ctx), dagger.ServiceStopOpts{Kill: true}) }()
	base, err := service.Endpoint(ctx, dagger.ServiceEndpointOpts{Port: 8080, Scheme: "http"})
	if err != nil {
		return err
	}
	const forever = "public, max-age=31536000, immutable"
	for _, c := range []struct {
		path, cache, body string
		status            int
	}{
		{"/", "no-cache", "<div id=\"root\">", 200},
		{"/orders/17", "no-cache", "<div id=\"root\">", 200},
		{"/assets/" + names[0], forever, "", 200},
		{"/assets/gone-Bx3k9_1z.js", "no-cache", "", 404},
		{"/favicon.ico", "no-cache", "", 404},
		{"/.env", "no-cache", "", 404},
	} {
		if err := answers(ctx, base+c.path, c.status, c.cache, c.body); err != nil {
			return fmt.Errorf("GET %s: %w", c.path, err)
		}
	}
	return nil
}

func answers(ctx context.Context, url string, status int, cache, body string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != status || response.Header.Get("Cache-Control") != cache || !strings.Contains(string(text), body) ||
		strings.Contains(string(text), "SECRET") || response.Header.Get("Last-Modified") != "" {
		return fmt.Errorf("status %d, %v\n%s", response.StatusCode, response.Header, text)
	}
	return nil
}
