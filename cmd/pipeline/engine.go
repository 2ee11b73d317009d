package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/source"
)

// Module is where the released Dagger module is.
const releasedModule = "github.com/metaextract/pipeline"

// choice is the runner that a command uses, and why.
type choice struct {
	engine bool
	why    string
}

// choose picks the runner that --runner names, or finds out which there is.
func (f *runFlags) choose(ctx context.Context) (choice, error) {
	switch f.runner {
	case "host":
		return choice{why: "host, as --runner says"}, nil
	case "auto", "engine":
	default:
		return choice{}, fmt.Errorf("--runner %s: must be auto, host or engine", f.runner)
	}
	engine := host.Engine(ctx)
	switch {
	case engine.Found:
		return choice{engine: true, why: "engine, as a Dagger engine answers (" + engine.Version + ")"}, nil
	case f.runner == "engine":
		return choice{}, infrastructure(fmt.Errorf("--runner engine: no Dagger engine answers: %s", engine.Fix))
	default:
		return choice{why: "host, as no Dagger engine answers"}, nil
	}
}

// moduleRef is the Dagger module to call.
func (f *runFlags) moduleRef() string {
	if f.module != "" {
		return f.module
	}
	data, err := os.ReadFile("dagger.json")
	var here struct{ Name string }
	if err == nil && json.Unmarshal(data, &here) == nil && here.Name == "pipeline" {
		return "."
	}
	if version == "dev" {
		return releasedModule
	}
	return releasedModule + "@" + version
}

// onEngine calls the module's rehearse function and shows the report it made.
func (f *rehearseFlags) onEngine(ctx context.Context, out io.Writer, release rehearse.Application, now running, ref config.Ref) error {
	args := []string{"rehearse", "--source", release.Dir, "--release", release.Version}
	if !now.self {
		args = append(args, "--from", now.tree.Dir, "--running", now.tree.Version, "--why", now.why)
	}
	if ref.Branch != "" {
		args = append(args, "--branch", ref.Branch)
	}
	if ref.Tag != "" {
		args = append(args, "--tag", ref.Tag)
	}
	if f.run.noCache {
		args = append(args, "--no-cache")
	}
	if slack := release.Config.Notify.Slack; slack != nil {
		args = append(args, "--slack-token", slack.Token) // a reference, which the dagger CLI resolves
	}
	return f.run.engineReport(ctx, out, f.output, args...)
}

// stageOnEngine calls the module's function for a stage and shows the report it made.
func (f *runFlags) stageOnEngine(ctx context.Context, out io.Writer, format, stage string, tree source.Tree) error {
	return f.engineReport(ctx, out, format, stage, "--source", tree.Dir)
}

// engineReport calls a function of the module, fetches the files of its report and ends as its verdict says.
func (f *runFlags) engineReport(ctx context.Context, out io.Writer, format string, args ...string) error {
	if err := makeReports(f.reports); err != nil {
		return infrastructure(err)
	}
	if err := f.dagger(ctx, append(args, "files", "export", "--path", f.reports)...); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(f.reports, "report.json"))
	if err != nil {
		return infrastructure(fmt.Errorf("read the engine's report: %w", err))
	}
	var result report.Report
	if err := json.Unmarshal(data, &result); err != nil {
		return infrastructure(fmt.Errorf("read the engine's report: %w", err))
	}
	progress := newProgress(out, format)
	defer progress.Close()
	return f.finish(out, format, progress, &result)
}

// dagger runs dagger call, its progress on standard error.
func (f *runFlags) dagger(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, "dagger", append([]string{"call", "--mod", f.moduleRef()}, args...)...)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	err := command.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return infrastructure(fmt.Errorf("dagger call %s failed before there was a report; its output above says why", args[0]))
	}
	if err != nil {
		return infrastructure(fmt.Errorf("start dagger: %w", err))
	}
	return nil
}
