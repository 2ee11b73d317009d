package main

import (
	"context"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Tests are the tests of an application: its own, with a PostgreSQL and a Redis of their own where it asks for them.
type Tests struct {
	// +private
	Pipeline *Pipeline
	// +private
	Only string
}

// Test runs the application's unit, property and integration tests.
func (m *Pipeline) Test(
	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,
) *Tests {
	return &Tests{Pipeline: m.of(source)}
}

// Component narrows the tests to one component of pipeline.yaml.
func (t *Tests) Component(name string) *Tests {
	return &Tests{Pipeline: t.Pipeline, Only: name}
}

// Unit runs the unit tests: Jest, Vitest, pytest.
//
// +check
// +cache="session"
func (t *Tests) Unit(ctx context.Context) error { return t.must(ctx, ci.Unit) }

// Property runs the property tests: fast-check, Hypothesis.
//
// A failure names seed, counterexample and how to replay it.
//
// +check
// +cache="session"
func (t *Tests) Property(ctx context.Context) error { return t.must(ctx, ci.Property) }

// Integration runs the integration tests, each component's with fresh servers.
//
// +check
// +cache="session"
func (t *Tests) Integration(ctx context.Context) error { return t.must(ctx, ci.Integration) }

// Report runs all tests and returns the report as text. It fails when one does, with the report as the error.
//
// +cache="session"
func (t *Tests) Report(ctx context.Context) (string, error) {
	return screen(t.run(ctx, ci.Unit, ci.Property, ci.Integration))
}

// Files runs all tests and returns report.html, report.json and report.md, also when one fails.
//
// +cache="session"
func (t *Tests) Files(ctx context.Context) (*dagger.Directory, error) {
	return files(t.run(ctx, ci.Unit, ci.Property, ci.Integration))
}

// Sync runs all tests and fails when one does. It is what "dagger call test" does.
//
// +cache="session"
func (t *Tests) Sync(ctx context.Context) (string, error) { return synced(ctx, t.Report) }

func (t *Tests) run(ctx context.Context, kinds ...ci.Kind) (*report.Report, error) {
	r, _, err := t.Pipeline.stage(ctx, "test", t.Only, kinds...)
	return r, err
}

func (t *Tests) must(ctx context.Context, kinds ...ci.Kind) error {
	_, err := screen(t.run(ctx, kinds...))
	return err
}
