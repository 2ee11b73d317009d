package engine

import (
	"context"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/driver"
)

// StageOptions say which steps of an application to run.
type StageOptions struct {
	Client    *dagger.Client
	Command   string // "check", "test" or "build", for the report
	Kinds     []ci.Kind
	Component string // "" for all of them
	Images    ci.Images
	NoCache   bool
	Progress  io.Writer
}

// Stage runs steps of an application and reports on them. The runner holds what they built. The error is for what kept
// it from running any: a mistake in the application's configuration.
func Stage(ctx context.Context, app *Application, options StageOptions) (*report.Report, *Runner, error) {
	plan, err := ci.NewPlan(app.Config, app.Files, options.Images)
	if err != nil {
		return nil, nil, err
	}
	var steps []ci.Step
	for _, step := range plan.Of(options.Kinds...) {
		if options.Component == "" || step.Component == options.Component {
			steps = append(steps, step)
		}
	}
	if err := known(app, options.Component); err != nil {
		return nil, nil, err
	}
	progress := report.NewProgress(options.Progress, report.Plain)
	defer progress.Close()
	runner := New(Options{Client: options.Client, Source: app.Directory, NoCache: options.NoCache, Observer: progress})
	out := &report.Report{
		Application: app.Config.Name, Command: options.Command, Release: app.Version, Runner: Name, Started: time.Now(),
	}
	results, err := runner.Run(ctx, steps...)
	if err != nil {
		return nil, nil, err
	}
	out.Stages, out.Failures = report.Collect(results)
	out.Verdict, out.Reasons = report.Judge(results)
	out.Seconds = time.Since(out.Started).Seconds()
	out.CISeconds = out.Seconds
	if len(steps) == 0 {
		out.Notes = append(out.Notes, "the application has no such step")
	}
	return out, runner, nil
}

// Name is what reports call this runner.
const Name = "engine"

func known(app *Application, component string) error {
	if _, ok := app.Config.Components[component]; ok || component == "" {
		return nil
	}
	return fmt.Errorf("component %s: pipeline.yaml has none of that name", component)
}

// Output is what a step made.
type Output struct {
	Name      string // component/output
	Directory *dagger.Directory
}

// Outputs are what the steps that passed in a runner made.
func Outputs(r *Runner) []Output {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Output
	for _, n := range r.passed {
		for _, o := range n.step.Outputs {
			at := path.Join(driver.SourceRoot, n.step.Dir, o.Path)
			all = append(all, Output{Name: path.Join(n.step.Component, o.Name), Directory: n.container.Directory(at)})
		}
	}
	return all
}
