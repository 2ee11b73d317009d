package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/source"
)

// stages says which steps a command runs, and what it is for.
var stages = map[string]struct {
	short string
	kinds []ci.Kind
}{
	"check": {"Lint, type-check and scan the application for secrets", []ci.Kind{ci.Lint, ci.Typecheck, ci.Secrets}},
	"test":  {"Run unit, property and integration tests with real PostgreSQL and Redis", []ci.Kind{ci.Unit, ci.Property, ci.Integration}},
	"build": {"Build every component", []ci.Kind{ci.Build}},
}

func stepsCommand(stage string) *cobra.Command {
	var f runFlags
	var format string
	cmd := &cobra.Command{
		Use: stage + " [DIR]", Short: stages[stage].short, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.steps(cmd.Context(), cmd.OutOrStdout(), directoryOf(args), stage, format)
		},
	}
	f.add(cmd)
	output(cmd, &format)
	return cmd
}

func (f *runFlags) steps(ctx context.Context, out io.Writer, dir, stage, format string) error {
	tree, err := source.Open(ctx, dir, nil, "")
	if err != nil {
		return err
	}
	app, err := load(tree)
	if err != nil {
		return err
	}
	chosen, err := f.choose(ctx)
	if err != nil {
		return err
	}
	if chosen.engine {
		return f.stageOnEngine(ctx, out, format, stage, tree)
	}
	plan, err := ci.NewPlan(app.Config, app.Files, ci.Images{})
	if err != nil {
		return err
	}
	progress := newProgress(out, format)
	defer progress.Close()
	progress.Note("runner: " + chosen.why)
	runner, err := host.New(host.Options{Source: tree.Dir, CacheDir: f.cache, Jobs: f.jobs, NoCache: f.noCache, Observer: progress})
	if err != nil {
		return infrastructure(err)
	}
	defer runner.Close()
	result := &report.Report{Application: app.Config.Name, Command: stage, Release: app.Version, Runner: "host", Started: time.Now()}
	results, err := runner.Run(ctx, plan.Of(stages[stage].kinds...)...)
	if err != nil {
		return infrastructure(fmt.Errorf("run the steps: %w", err))
	}
	result.Stages, result.Failures = report.Collect(results)
	result.Verdict, result.Reasons = report.Judge(results)
	result.Seconds = time.Since(result.Started).Seconds()
	result.CISeconds = result.Seconds
	return f.finish(out, format, progress, result)
}
