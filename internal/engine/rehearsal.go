package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/notify"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/dagger"
)

// RehearsalOptions are what a rehearsal on the engine needs.
type RehearsalOptions struct {
	Client     *dagger.Client
	Release    *Application
	Running    *Application // nil: the release is rehearsed against itself
	Why        string       // Running is what runs now
	Ref        config.Ref   // what the run was started for
	Images     ci.Images
	Image      ImageOptions
	NoCache    bool
	SlackToken string
	Told       notify.Message
	Progress   io.Writer
	Journal    string // file
}

// itself is why a release is rehearsed against itself.
const itself = "nothing was named to rehearse from, so it is rehearsed against itself"

// Rehearse runs the rehearsal of a release on the engine.
func Rehearse(ctx context.Context, o RehearsalOptions) (*report.Report, error) {
	journal, err := deploy.OpenJournal(o.Journal)
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	progress := report.NewProgress(o.Progress, report.Plain)
	defer progress.Close()
	platform := NewPlatform(PlatformOptions{Client: o.Client, NoCache: o.NoCache, Images: o.Image})
	defer func() { _ = platform.Close(context.WithoutCancel(ctx)) }() // the session's end ends what is left

	environment, _, _, _ := o.Release.Config.Environment(o.Ref)
	r := rehearse.Rehearsal{
		Release: o.Release.Application, Running: o.Release.Application, Self: o.Running == nil, Why: o.Why, Environment: environment,
		Images: o.Images, Platform: platform, Progress: progress, Journal: journal, Told: o.Told,
	}
	if !r.Self {
		r.Running = o.Running.Application
	} else if r.Why == "" {
		r.Why = itself
	}
	if slack := o.Release.Config.Notify.Slack; slack != nil && o.SlackToken != "" {
		r.Notifier = &notify.Slack{Channel: slack.Channel, Token: o.SlackToken, APIURL: slack.APIURL}
	} else if slack != nil {
		r.Notes = append(r.Notes, "Slack was not told: pass the bot token with --slack-token "+slack.Token)
	}
	return rehearse.Run(ctx, r), nil
}

// ReadJournal is the text of a journal that a rehearsal has written.
func ReadJournal(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the journal: %w", err)
	}
	return string(text), nil
}
