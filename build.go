package main

import (
	"context"
	"fmt"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine"
)

// Builds are what an application is built to: bundles, wheels.
type Builds struct {
	// +private
	Pipeline *Pipeline
	// +private
	Only string
}

// Build builds every component.
func (m *Pipeline) Build(
	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,
) *Builds {
	return &Builds{Pipeline: m.of(source)}
}

// Component narrows the build to one component of pipeline.yaml.
func (b *Builds) Component(name string) *Builds {
	return &Builds{Pipeline: b.Pipeline, Only: name}
}

// Outputs are what the build made, in a directory for each component and output: frontend/bundle, backend/wheel.
//
// +cache="session"
func (b *Builds) Outputs(ctx context.Context) (*dagger.Directory, error) {
	r, runner, err := b.run(ctx)
	if _, err := screen(r, err); err != nil {
		return nil, err
	}
	dir := dag.Directory()
	for _, o := range engine.Outputs(runner) {
		dir = dir.WithDirectory(o.Name, o.Directory)
	}
	return dir, nil
}

// Report builds and returns the report as text. It fails when a build does, with the report as the error.
//
// +cache="session"
func (b *Builds) Report(ctx context.Context) (string, error) {
	r, _, err := b.run(ctx)
	return screen(r, err)
}

// Files builds and returns report.html, report.json and report.md, also when a build fails.
//
// +cache="session"
func (b *Builds) Files(ctx context.Context) (*dagger.Directory, error) {
	r, _, err := b.run(ctx)
	return files(r, err)
}

// Sync builds and fails when a build does. It is what "dagger call build" does.
//
// +cache="session"
func (b *Builds) Sync(ctx context.Context) (string, error) { return synced(ctx, b.Report) }

func (b *Builds) run(ctx context.Context) (*report.Report, *engine.Runner, error) {
	return b.Pipeline.stage(ctx, "build", b.Only, ci.Build)
}

// Images are the images of the components that are served.
type Images struct {
	// +private
	Pipeline *Pipeline
}

// Images are the images of all components that are served, for checks.
func (m *Pipeline) Images(
	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,
) *Images {
	return &Images{Pipeline: m.of(source)}
}

// Start starts every image once, not as root, and asks it whether it is alive and the release it claims to be.
//
// +check
// +cache="session"
func (i *Images) Start(ctx context.Context) error {
	app, err := i.Pipeline.open(ctx)
	if err != nil {
		return err
	}
	images, err := i.Pipeline.build(ctx, app, "")
	if err != nil {
		return err
	}
	return engine.StartOnce(ctx, dag, app, images)
}

// Image is the image of one component, not root, with what it needs at run time and nothing else.
//
// It is the one that a rehearsal runs. Chain as-tarball, publish, export or terminal to it.
//
// +cache="session"
func (m *Pipeline) Image(
	ctx context.Context,

	// The component, by its name in pipeline.yaml.
	component string,

	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,

	// What the release is called; by default it is named after its content.
	// +optional
	release string,
) (*dagger.Container, error) {
	m = m.of(source)
	app, err := engine.Open(ctx, dag, m.Source, nil, release, "")
	if err != nil {
		return nil, err
	}
	images, err := m.build(ctx, app, component)
	if err != nil {
		return nil, err
	}
	image, ok := images[component]
	if !ok {
		return nil, fmt.Errorf("component %s has no serve section in pipeline.yaml, so there is no image of it", component)
	}
	return image, nil
}
