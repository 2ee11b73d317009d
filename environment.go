package main

import (
	"context"

	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Environment is where a branch or tag is deployed to.
type Environment struct {
	// Its name in pipeline.yaml; empty where the branch or tag is deployed nowhere.
	Name string
	// Why, as a sentence.
	Why string
	// Where users reach it; empty where pipeline.yaml does not say.
	URL string
}

// Environment says which environment a branch or tag is deployed to, and why.
//
// The tag is asked first.
func (m *Pipeline) Environment(
	ctx context.Context,

	// Branch, as main.
	// +optional
	branch string,

	// Tag, as v1.4.0.
	// +optional
	tag string,

	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,
) (*Environment, error) {
	app, err := m.of(source).open(ctx)
	if err != nil {
		return nil, err
	}
	name, environment, _, why := app.Config.Environment(config.Ref{Branch: branch, Tag: tag})
	return &Environment{Name: name, Why: why, URL: environment.URL}, nil
}
