package main

import (
	"context"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Conformance tests that the engine's runner and target do what every runner and target must (ci/runnertest,
// deploy/target/targettest).
type Conformance struct {
	// +private
	Tests *Tests
}

// Conformance tests that the engine's runner and target do what every runner and target must.
func (t *Tests) Conformance() *Conformance { return &Conformance{Tests: t} }

// Runner runs ci/runnertest on the engine.
//
// +check
// +cache="session"
func (c *Conformance) Runner(ctx context.Context) error { return c.run(ctx, "TestConformance") }

// Target runs deploy/target/targettest on the engine.
//
// +check
// +cache="session"
func (c *Conformance) Target(ctx context.Context) error { return c.run(ctx, "TestTargetConformance") }

// run runs Go tests in a container that may use the engine, in whose network services have addresses.
func (c *Conformance) run(ctx context.Context, test string) error {
	_, err := dag.Container().From("golang:1.26").
		WithMountedCache("/go/pkg/mod", dag.CacheVolume("go-modules")).
		WithMountedCache("/root/.cache/go-build", dag.CacheVolume("go-builds")).
		WithEnvVariable("CGO_ENABLED", "0").
		WithDirectory("/src", c.Tests.Repository).WithWorkdir("/src").
		WithExec([]string{"go", "test", "-tags", "engine", "-c", "-o", "/engine.test", "./internal/engine"}).
		WithExec([]string{"/engine.test", "-test.v", "-test.failfast", "-test.timeout", "20m", "-test.run", "^" + test + "$"},
			dagger.ContainerWithExecOpts{ExperimentalPrivilegedNesting: true}).
		Sync(ctx)
	return err
}
