package main

import (
	"context"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/dagger"
)

// Checks are the checks of an application by its own tools and configuration, and the scan for secrets.
type Checks struct {
	// +private
	Pipeline *Pipeline
	// +private
	Only string
}

// Check lints, type-checks and scans the application for secrets.
func (m *Pipeline) Check(
	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,
) *Checks {
	return &Checks{Pipeline: m.of(source)}
}

// Component narrows the checks to one component of pipeline.yaml.
func (c *Checks) Component(name string) *Checks {
	return &Checks{Pipeline: c.Pipeline, Only: name}
}

// Lint runs the application's linters: ESLint, Ruff or Pylint.
//
// +check
// +cache="session"
func (c *Checks) Lint(ctx context.Context) error { return c.must(ctx, ci.Lint) }

// Typecheck runs the application's type checkers: TypeScript, mypy.
//
// +check
// +cache="session"
func (c *Checks) Typecheck(ctx context.Context) error { return c.must(ctx, ci.Typecheck) }

// Secrets looks for committed credentials with gitleaks.
//
// +check
// +cache="session"
func (c *Checks) Secrets(ctx context.Context) error { return c.must(ctx, ci.Secrets) }

// Report runs all checks and returns the report as text. It fails when one does, with the report as the error.
//
// +cache="session"
func (c *Checks) Report(ctx context.Context) (string, error) {
	return screen(c.run(ctx, ci.Lint, ci.Typecheck, ci.Secrets))
}

// Files runs all checks and returns report.html, report.json and report.md, also when one fails.
//
// +cache="session"
func (c *Checks) Files(ctx context.Context) (*dagger.Directory, error) {
	return files(c.run(ctx, ci.Lint, ci.Typecheck, ci.Secrets))
}

// Sync runs all checks and fails when one does. It is what "dagger call check" does.
//
// +cache="session"
func (c *Checks) Sync(ctx context.Context) (string, error) { return synced(ctx, c.Report) }

func (c *Checks) run(ctx context.Context, kinds ...ci.Kind) (*report.Report, error) {
	r, _, err := c.Pipeline.stage(ctx, "check", c.Only, kinds...)
	return r, err
}

func (c *Checks) must(ctx context.Context, kinds ...ci.Kind) error {
	_, err := screen(c.run(ctx, kinds...))
	return err
}
