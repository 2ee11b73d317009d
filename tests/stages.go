package main

import (
	"context"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Stages tests check, test and build.
type Stages struct {
	// +private
	Tests *Tests
}

// Stages tests check, test and build.
func (t *Tests) Stages() *Stages { return &Stages{Tests: t} }

// SamplePasses checks, tests and builds the sample application.
//
// +check
// +cache="session"
func (s *Stages) SamplePasses(ctx context.Context) error {
	p := dag.Pipeline(dagger.PipelineOpts{Source: s.Tests.Sample})
	for _, run := range []struct {
		report func(context.Context) (string, error)
		want   []string
	}{
		{p.Check().Report, []string{"PROVEN", "frontend/lint", "backend/typecheck", "secrets"}},
		{p.Test().Report, []string{"PROVEN", "frontend/property", "backend/integration", "39 tests"}},
		{p.Build().Report, []string{"PROVEN", "frontend/build", "backend/build"}},
		{p.Test().Component("frontend").Report, []string{"PROVEN", "frontend/unit", "cached"}},
	} {
		text, err := run.report(ctx)
		if err != nil {
			return err
		}
		if err := contains(text, run.want...); err != nil {
			return err
		}
	}
	_, err := p.Build().Outputs().File("frontend/bundle/index.html").Sync(ctx)
	return err
}

// LintFails proves that a check can fail, and names the place.
//
// +check
// +cache="session"
func (s *Stages) LintFails(ctx context.Context) error {
	err := dag.Pipeline(dagger.PipelineOpts{Source: s.Tests.faulty("lint")}).Check().Component("frontend").Lint(ctx)
	return refused(err, "REFUSED", "frontend/lint", "main.tsx", "debugger")
}

// PropertyFails proves that a property that does not hold is reported with seed and counterexample, and that the report's
// files are there all the same.
//
// +check
// +cache="session"
func (s *Stages) PropertyFails(ctx context.Context) error {
	tests := dag.Pipeline().Test(dagger.PipelineTestOpts{Source: s.Tests.faulty("failing-property")}).Component("frontend")
	_, err := tests.Report(ctx)
	if err := refused(err, "REFUSED", "frontend/property", "counterexample", "seed", "npm run test:property"); err != nil {
		return err
	}
	json, err := tests.Files().File("report.json").Contents(ctx)
	if err != nil {
		return err
	}
	return contains(json, `"verdict": "refused"`, `"seed"`, `"example"`)
}

// MistakesAreExplained calls the module with what cannot work.
//
// +check
// +cache="session"
func (s *Stages) MistakesAreExplained(ctx context.Context) error {
	_, err := dag.Pipeline(dagger.PipelineOpts{Source: dag.Directory()}).Test().Report(ctx)
	if err := refused(err, "pipeline.yaml", "--source"); err != nil {
		return err
	}
	_, err = dag.Pipeline(dagger.PipelineOpts{Source: s.Tests.Sample}).Test().Component("backand").Report(ctx)
	return refused(err, "backand")
}

// EnvironmentsAreFound asks where branches and tags are deployed to.
//
// +check
// +cache="session"
func (s *Stages) EnvironmentsAreFound(ctx context.Context) error {
	p := dag.Pipeline(dagger.PipelineOpts{Source: s.Tests.Sample})
	for _, c := range []struct{ branch, tag, name, why string }{
		{"main", "", "staging", "branch main"},
		{"main", "v1.2.0", "production", "tag v1.2.0"},
		{"feature/x", "", "", "no environment takes branch feature/x"},
	} {
		e := p.Environment(dagger.PipelineEnvironmentOpts{Branch: c.branch, Tag: c.tag})
		name, err := e.Name(ctx)
		if err != nil {
			return err
		}
		why, err := e.Why(ctx)
		if err != nil {
			return err
		}
		if err := contains(name+": "+why, c.name+": ", c.why); err != nil {
			return err
		}
	}
	return nil
}
