package main

import (
	"context"
	"os"
	"strings"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy/notify"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/host"
)

// notifier tells whom pipeline.yaml names. A token that cannot be resolved is noted: nobody is told, the run goes on.
func notifier(ctx context.Context, app rehearse.Application, progress report.Progress) notify.Notifier {
	cfg := app.Config.Notify
	if cfg.Slack == nil {
		return nil
	}
	token, err := host.ResolveSecret(ctx, cfg.Slack.Token, app.Dir)
	if err != nil {
		progress.Note("Slack will not be told: " + err.Error())
		return nil
	}
	return &notify.Slack{Channel: cfg.Slack.Channel, Token: token, APIURL: cfg.Slack.APIURL}
}

// told says who runs this and where, as far as the environment tells.
func told() notify.Message {
	m := notify.Message{Who: os.Getenv("USER")}
	if name, err := os.Hostname(); err == nil {
		m.Where = name
	}
	if os.Getenv("GITHUB_ACTIONS") == "true" {
		m.Who, m.Where = os.Getenv("GITHUB_ACTOR"), "GitHub Actions"
		m.Link = strings.Join([]string{os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY"), "actions/runs", os.Getenv("GITHUB_RUN_ID")}, "/")
	}
	return m
}
