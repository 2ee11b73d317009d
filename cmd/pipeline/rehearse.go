package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/source"
)

// rehearseFlags are the command line of rehearse.
type rehearseFlags struct {
	dir      string
	overlays []string
	from     string
	run      runFlags
	output   string
}

// runFlags are shared by all commands that run steps.
type runFlags struct {
	runner  string
	module  string
	reports string
	cache   string
	noCache bool
	jobs    int
}

func (f *runFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.runner, "runner", "auto", "auto, host or engine; auto takes a Dagger engine where one answers")
	flags.StringVar(&f.module, "module", "", "Dagger module to call on an engine; default: this directory's, else the released one")
	flags.StringVar(&f.reports, "report", filepath.Join(".pipeline", "report"), "directory for report.html and report.json")
	flags.StringVar(&f.cache, "cache-dir", "", "where a host run keeps layers and results (default: the user's cache directory)")
	flags.BoolVar(&f.noCache, "no-cache", false, "run every step, also those whose inputs have not changed")
	flags.IntVar(&f.jobs, "jobs", 0, "steps at the same time on a host (default: cores)")
}

func rehearseCommand() *cobra.Command {
	var f rehearseFlags
	cmd := &cobra.Command{
		Use:   "rehearse [DIR]",
		Short: "Prove a release in an ephemeral copy, under traffic, rollback included",
		Long:  "rehearse checks, tests and builds the application in DIR, starts the release that runs now under traffic,\nmigrates the database, switches to the new release, rolls back and forward again, and reports what users would\nhave noticed.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.dir = directoryOf(args)
			return f.rehearse(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringArrayVar(&f.overlays, "overlay", nil, "directory of changed files laid over DIR: rehearse a change that is not in it; repeatable")
	cmd.Flags().StringVar(&f.from, "from", "", "the release that runs now: a directory or a git ref (default: what the environment runs, else the newest tag before HEAD)")
	f.run.add(cmd)
	output(cmd, &f.output)
	return cmd
}

func (f *rehearseFlags) rehearse(ctx context.Context, out io.Writer) error {
	temporary, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	tree, err := source.Open(ctx, f.dir, f.overlays, temporary)
	if err != nil {
		return err
	}
	release, err := load(tree)
	if err != nil {
		return err
	}
	ref, from := currentRef(ctx, tree.Dir)
	name, environment, _, why := release.Config.Environment(ref)
	now, err := findRunning(ctx, f.dir, tree, environment, f.from, temporary)
	if err != nil {
		return err
	}
	old := release
	if !now.self {
		if old, err = load(now.tree); err != nil {
			return fmt.Errorf("the running release (%s): %w", now.tree.Origin, err)
		}
	}

	chosen, err := f.run.choose(ctx)
	if err != nil {
		return err
	}
	if chosen.engine {
		return f.onEngine(ctx, out, release, now, ref)
	}
	progress := newProgress(out, f.output)
	defer progress.Close()
	progress.Note("runner: " + chosen.why)
	progress.Note(fmt.Sprintf("environment: %s (%s, from %s)", orNone(name), why, from))

	journal, err := openJournal(f.run.reports)
	if err != nil {
		return err
	}
	defer journal.Close()
	platform, err := host.NewPlatform(host.PlatformOptions{CacheDir: f.run.cache, Jobs: f.run.jobs, NoCache: f.run.noCache})
	if err != nil {
		return infrastructure(err)
	}
	defer platform.Close()
	result := rehearse.Run(ctx, rehearse.Rehearsal{
		Release: release, Running: old, Why: now.why, Self: now.self, Environment: name,
		Platform: platform, Progress: progress, Journal: journal, Notifier: notifier(ctx, release, progress), Told: told(),
		Notes: []string{"images were not built: that needs a Dagger engine (dagger call image)"},
	})
	platform.Close() // before the verdict: it says that nothing is left running
	return f.run.finish(out, f.output, progress, result)
}

// finish writes the report's files, shows it and turns its verdict into the exit code.
func (f *runFlags) finish(out io.Writer, format string, progress report.Progress, result *report.Report) error {
	if err := writeReport(f.reports, result); err != nil {
		return infrastructure(err)
	}
	progress.Finish(result)
	if format == "json" {
		if err := report.WriteJSON(out, result); err != nil {
			return infrastructure(err)
		}
	}
	if code := report.ExitCode(result.Verdict); code != 0 {
		return &exit{code: code}
	}
	return nil
}

// writeReport writes report.html and report.json, and puts the first one's path into the report.
func writeReport(dir string, result *report.Report) error {
	if err := makeReports(dir); err != nil {
		return err
	}
	result.Path = filepath.Join(dir, "report.html")
	for name, write := range map[string]func(io.Writer, *report.Report) error{"report.html": report.WriteHTML, "report.json": report.WriteJSON} {
		if err := writeFile(filepath.Join(dir, name), func(w io.Writer) error { return write(w, result) }); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// makeReports makes the directory for reports. In .pipeline, git does not see it.
func makeReports(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if above := filepath.Dir(dir); err == nil && filepath.Base(above) == ".pipeline" {
		err = os.WriteFile(filepath.Join(above, ".gitignore"), []byte("*\n"), 0o644)
	}
	if err != nil {
		return fmt.Errorf("make the report's directory: %w; name another one with --report", err)
	}
	return nil
}

// writeFile replaces a file as a whole: a reader sees the old one or the new one.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func openJournal(reports string) (*deploy.FileJournal, error) {
	if err := makeReports(reports); err != nil {
		return nil, infrastructure(err)
	}
	journal, err := deploy.OpenJournal(filepath.Join(reports, "journal.jsonl"))
	if err != nil {
		return nil, infrastructure(err)
	}
	return journal, nil
}

// newProgress shows a run on standard error when standard output carries JSON.
func newProgress(out io.Writer, format string) report.Progress {
	if format == "json" {
		return report.NewProgress(os.Stderr, report.Plain)
	}
	terminal := false
	if f, ok := out.(*os.File); ok {
		terminal = term.IsTerminal(int(f.Fd()))
	}
	return report.NewProgress(out, report.DetectMode(os.Getenv, terminal))
}

func orNone(name string) string {
	if name == "" {
		return "none"
	}
	return name
}
