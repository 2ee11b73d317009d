package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine"
)

// Rehearsal is what a rehearsal has shown.
type Rehearsal struct {
	// What it says of the release: proven, refused, or broken where the pipeline could not do its work.
	Verdict string
	// +private
	JSON string
	// +private
	Journal string
}

// Rehearse proves a release in an ephemeral copy, under traffic, rollback included.
//
// It checks, tests and builds the application, starts the release that runs now under traffic, backs the database up,
// migrates it, switches to the new release's images, rolls back and forward again, and reports what users would have
// noticed. Called alone it fails unless the release is proven; the report is in files all the same.
//
// A session rehearses a release once: without that, each function that a caller chains to the result would rehearse anew.
// The next session rehearses again.
//
// +cache="session"
func (m *Pipeline) Rehearse(
	ctx context.Context,

	// The application, in place of the constructor's.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	source *dagger.Directory,

	// The release that runs now. Without it, the release is rehearsed against itself.
	// +optional
	// +ignore=["**/node_modules", "**/.venv", "**/__pycache__", ".git", "**/.pipeline", "**/.mypy_cache", "**/.pytest_cache", "**/.ruff_cache", "**/.hypothesis"]
	from *dagger.Directory,

	// Changed files to lay over the application: rehearse a change that is not in it. Repeatable.
	// +optional
	overlay []*dagger.Directory,

	// What the release is called; by default it is named after its content.
	// +optional
	release string,

	// What the release that runs now is called.
	// +optional
	running string,

	// Why "from" is what runs now, for the report.
	// +default="named by --from"
	why string,

	// Branch that the run is for: it decides the environment.
	// +optional
	branch string,

	// Tag that the run is for.
	// +optional
	tag string,

	// Run every step, also those whose inputs have not changed.
	// +optional
	noCache bool,

	// Bot token for the Slack channel in pipeline.yaml.
	// +optional
	slackToken *dagger.Secret,
) (*Rehearsal, error) {
	options := engine.RehearsalOptions{
		Client: dag, Ref: config.Ref{Branch: branch, Tag: tag}, Images: m.images(), Image: m.image(), NoCache: noCache,
		Progress: os.Stdout, Journal: "journal.jsonl",
	}
	var err error
	if options.Release, err = engine.Open(ctx, dag, m.of(source).Source, overlay, release, ""); err != nil {
		return nil, err
	}
	if from != nil {
		options.Why = why
		if options.Running, err = engine.Open(ctx, dag, from, nil, running, ""); err != nil {
			return nil, err
		}
	}
	if slackToken != nil {
		if options.SlackToken, err = slackToken.Plaintext(ctx); err != nil {
			return nil, err
		}
	}
	result, err := engine.Rehearse(ctx, options)
	if err != nil {
		return nil, err
	}
	return rehearsed(result, options.Journal)
}

// rehearsed keeps a report between the functions of a chain.
func rehearsed(result *report.Report, journal string) (*Rehearsal, error) {
	text, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	r := &Rehearsal{Verdict: string(result.Verdict), JSON: string(text)}
	r.Journal, err = engine.ReadJournal(journal)
	return r, err
}

func (r *Rehearsal) result() (*report.Report, error) {
	var result report.Report
	return &result, json.Unmarshal([]byte(r.JSON), &result)
}

// Report is the report as text, verdict first. It fails unless the release is proven, with the report as the error.
func (r *Rehearsal) Report() (string, error) { return screen(r.result()) }

// Files are report.html, report.json, report.md and the journal of the deployment, whatever the verdict is.
func (r *Rehearsal) Files() (*dagger.Directory, error) {
	dir, err := files(r.result())
	if err != nil {
		return nil, err
	}
	return dir.WithNewFile("journal.jsonl", r.Journal), nil
}

// Sync fails unless the release is proven. It is what "dagger call rehearse" does last.
func (r *Rehearsal) Sync(ctx context.Context) (string, error) {
	return synced(ctx, func(context.Context) (string, error) { return r.Report() })
}
