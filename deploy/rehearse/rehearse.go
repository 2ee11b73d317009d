// Package rehearse proves a release before production sees it: in an ephemeral copy, under traffic, from the version that
// runs now to the new one, back and forward again. It composes ci, migrations and deploy and runs nothing itself: a
// Platform (a host's processes, a Dagger engine's containers) does. Both faces, the CLI and the Dagger module, call it.
package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/notify"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/corpus"
	"github.com/metaextract/pipeline/migrations/script"
)

// Application is one release: its files and what pipeline.yaml says of them.
type Application struct {
	Config  *config.Config
	Files   fs.FS
	Dir     string // of the files on this machine; a platform that has them elsewhere needs none
	Version string
	Origin  string // for people: "directory shop", "git v1.4.0 (2f1a9c1)"
}

// Rehearsal is what to rehearse.
type Rehearsal struct {
	Release Application
	Running Application
	// Why says how Running was found: "named by --from", "newest tag before HEAD".
	Why string
	// Self is true when the release is rehearsed against itself because nothing else was found.
	Self        bool
	Environment string
	Images      ci.Images
	Platform    Platform
	Progress    report.Progress
	Notifier    notify.Notifier // nil: nobody is told
	Told        notify.Message  // who started it, where it runs and a link; the rest is filled in
	Journal     deploy.Journal
	Notes       []string
	Now         func() time.Time // nil: time.Now
}

// Platform is the machine a rehearsal runs on.
type Platform interface {
	// Name is "host" or "engine".
	Name() string
	// Builder runs the steps of an application and tells observer of them; it may be nil.
	Builder(ctx context.Context, app Application, observer ci.Observer) (Builder, error)
	// Services starts a fresh server of each kind and returns its URL by the variable that names it. They end with the platform.
	Services(ctx context.Context, services []ci.Service) (map[string]string, error)
	// Target runs slots.
	Target(ctx context.Context) (deploy.Target, error)
	// Dumper makes and loads backups.
	Dumper() backup.Dumper
	// Cluster starts scratch servers, in which backups are proven and migrations rehearsed.
	Cluster() backup.Cluster
}

// Builder runs steps and hands over what they built.
type Builder interface {
	ci.Runner
	// Artifact is the reference by which the platform's target starts what a build step made.
	Artifact(step ci.Step) (string, error)
}

// Run rehearses the release. It always returns a report: what could not be done is in its verdict and reasons. Only a
// canceled context leaves stages out without a reason of their own.
func Run(ctx context.Context, r Rehearsal) *report.Report {
	if r.Now == nil {
		r.Now = time.Now
	}
	run := &run{Rehearsal: r, out: &report.Report{
		Application: r.Release.Config.Name, Command: "rehearse", Release: r.Release.Version,
		Running: fmt.Sprintf("%s, %s (%s)", r.Running.Version, r.Running.Origin, r.Why), Environment: r.Environment,
		Runner: r.Platform.Name(), Started: r.Now(), Notes: r.Notes,
	}}
	if r.Self {
		run.out.Notes = append(run.out.Notes, r.Why)
	}
	run.stages = &stages{progress: r.Progress, now: r.Now}
	run.announce(ctx)
	err := run.everything(ctx)
	failed := run.stages.name()
	run.stages.end(err)
	run.out.Stages = append(run.out.Stages, run.stages.done...)
	run.out.Seconds = r.Now().Sub(run.out.Started).Seconds()
	run.judge(ctx, failed, err)
	run.conclude(context.WithoutCancel(ctx))
	return run.out
}

// run is a rehearsal under way.
type run struct {
	Rehearsal
	out    *report.Report
	stages *stages
	next   built
	old    built
}

// built is an application whose steps have passed.
type built struct {
	plan       *ci.Plan
	builder    Builder
	units      []deploy.Unit
	statements []corpus.Statement // that its tests have sent to the database
}

// errJudged ends a rehearsal whose verdict and reasons are in the report already.
var errJudged = errors.New("judged")

func (r *run) everything(ctx context.Context) error {
	if err := r.build(ctx); err != nil {
		return err
	}
	if !serves(r.Release.Config) {
		r.out.Notes = append(r.out.Notes, "no component has a serve section: nothing to deploy, so only checks, tests and builds were run")
		return nil
	}
	box, err := r.raise(ctx)
	defer box.close(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	return r.perform(ctx, box)
}

// serves says whether anything of the application is deployed.
func serves(cfg *config.Config) bool {
	for _, c := range cfg.Components {
		if c.Serve != nil {
			return true
		}
	}
	return false
}

// judge turns what was seen into the verdict. stage is where err happened.
func (r *run) judge(ctx context.Context, stage string, err error) {
	out := r.out
	var broken *brokenError
	switch {
	case ctx.Err() != nil:
		out.Verdict = report.Broken
		out.Reasons = append(out.Reasons, "interrupted: "+context.Cause(ctx).Error())
	case errors.Is(err, errJudged):
	case errors.As(err, &broken):
		if out.Verdict == "" {
			out.Verdict = report.Broken
		}
		r.blame(stage, err)
	case err != nil:
		out.Verdict = report.Refused
		r.blame(stage, err)
	}
	if t := out.Traffic; t != nil && t.Failed > 0 && ctx.Err() == nil {
		out.Reasons = append(out.Reasons, dropped(t))
		if out.Verdict == "" {
			out.Verdict = report.Refused
		}
	}
	if out.Verdict == "" {
		out.Verdict = report.Proven
	}
}

// blame puts an error into the report: its first line as the reason, the rest and the logs as a failure.
func (r *run) blame(stage string, err error) {
	first, rest, _ := strings.Cut(err.Error(), "\n")
	failure := report.Failure{Stage: stage, Step: stage, Title: first, Message: rest}
	var sql *script.Error
	if errors.As(err, &sql) {
		failure.File, failure.Line, failure.Column = sql.File, sql.Line, sql.Column
	}
	var step *deploy.StepError
	if errors.As(err, &step) && rest == "" {
		failure.Message = tails(step.Logs)
	}
	reason, said := first, lastLine(failure.Message)
	if sql != nil {
		said = strings.TrimSpace(sql.Text)
	}
	if said != "" {
		reason = strings.TrimSuffix(first, "; the end of its log:") + ": " + said
	}
	r.out.Reasons = append(r.out.Reasons, reason)
	r.out.Failures = append(r.out.Failures, failure)
}

// brokenError says that the pipeline could not do its work, which says nothing about the release.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

func broken(format string, args ...any) error { return &brokenError{fmt.Errorf(format, args...)} }
