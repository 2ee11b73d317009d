package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine"
)

// screenWidth is that of the reports that functions print.
const screenWidth = 100

// open reads the application.
func (m *Pipeline) open(ctx context.Context) (*engine.Application, error) {
	return engine.Open(ctx, dag, m.Source, nil, "", "")
}

// stage runs the steps of some kinds, of one component or of all.
func (m *Pipeline) stage(ctx context.Context, command, component string, kinds ...ci.Kind) (*report.Report, *engine.Runner, error) {
	app, err := m.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return engine.Stage(ctx, app, engine.StageOptions{
		Client: dag, Command: command, Component: component, Kinds: kinds, Images: m.images(), Progress: os.Stdout,
	})
}

// screen is a report for a terminal, as an error unless it is proven.
func screen(r *report.Report, err error) (string, error) {
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := report.WriteScreen(&text, r, screenWidth, false); err != nil {
		return "", err
	}
	if r.Verdict != report.Proven {
		return "", errors.New(text.String())
	}
	return text.String(), nil
}

// files are a report for people and programs: report.html, report.json, report.md.
func files(r *report.Report, err error) (*dagger.Directory, error) {
	if err != nil {
		return nil, err
	}
	dir := dag.Directory()
	for _, f := range []struct {
		name  string
		write func(io.Writer, *report.Report) error
	}{{"report.html", report.WriteHTML}, {"report.json", report.WriteJSON}, {"report.md", report.WriteMarkdown}} {
		var text bytes.Buffer
		if err := f.write(&text, r); err != nil {
			return nil, err
		}
		dir = dir.WithNewFile(f.name, text.String())
	}
	return dir, nil
}

// image is what images are made with.
func (m *Pipeline) image() engine.ImageOptions {
	return engine.ImageOptions{Caddy: m.CaddyImage, Repository: m.Repository}
}

// build builds the image of one component that is served, or of all. It fails with the report where a build does.
func (m *Pipeline) build(ctx context.Context, app *engine.Application, component string) (map[string]*dagger.Container, error) {
	images, r, err := engine.Build(ctx, app, engine.StageOptions{
		Client: dag, Command: "build", Component: component, Images: m.images(), Progress: os.Stdout,
	}, m.image())
	if err != nil {
		return nil, err
	}
	_, err = screen(r, nil)
	return images, err
}
