package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/metaextract/pipeline/tests/internal/dagger"
)

// Rehearsals tests rehearsals.
type Rehearsals struct {
	// +private
	Tests *Tests
}

// Rehearsals tests rehearsals.
func (t *Tests) Rehearsals() *Rehearsals { return &Rehearsals{Tests: t} }

// Proven rehearses the sample's next release: nothing is dropped, the backup and the way back are proven.
//
// +check
// +cache="session"
func (r *Rehearsals) Proven(ctx context.Context) error {
	rehearsal := dag.Pipeline().Rehearse(dagger.PipelineRehearseOpts{
		Source: r.Tests.Sample, Overlay: []*dagger.Directory{r.Tests.Next}, From: r.Tests.Sample,
		Release: "v1.1.0", Running: "v1.0.0", Branch: "main",
	})
	text, err := rehearsal.Report(ctx)
	if err != nil {
		return err
	}
	if err := contains(text, "PROVEN  metaextract v1.1.0", "0 dropped", "on the engine"); err != nil {
		return err
	}
	files := rehearsal.Files()
	data, err := files.File("report.json").Contents(ctx)
	if err != nil {
		return err
	}
	var report struct {
		Environment string
		Traffic     struct{ Requests, Failed int }
		Rollback    struct{ Proven bool }
		Database    struct {
			Backup     struct{ Proven bool }
			Migrations struct{ Applied []struct{ Name string } }
		}
	}
	if err := json.Unmarshal([]byte(data), &report); err != nil {
		return err
	}
	if report.Traffic.Requests < 100 || report.Traffic.Failed > 0 || !report.Rollback.Proven || !report.Database.Backup.Proven ||
		len(report.Database.Migrations.Applied) != 1 || report.Environment != "staging" {
		return fmt.Errorf("the evidence is not what it should be: %+v", report)
	}
	journal, err := files.File("journal.jsonl").Contents(ctx)
	if err != nil {
		return err
	}
	if strings.Contains(data+journal+text, "postgres://") {
		return errors.New("the report has the address of the database, which has its password")
	}
	return contains(journal, `"state":"shifting"`, `"state":"rolling back"`, `"state":"done"`)
}

// ExitAtStartIsRefused rehearses a release whose backend ends when it is started: the first screen names the cause.
//
// +check
// +cache="session"
func (r *Rehearsals) ExitAtStartIsRefused(ctx context.Context) error {
	rehearsal := dag.Pipeline().Rehearse(dagger.PipelineRehearseOpts{
		Source: r.Tests.Sample, Overlay: []*dagger.Directory{r.Tests.Next, r.Tests.Faults.Directory("exits-at-start")}, From: r.Tests.Sample,
	})
	verdict, err := rehearsal.Verdict(ctx)
	if err != nil {
		return err
	}
	if verdict != "refused" {
		return fmt.Errorf("the verdict is %s", verdict)
	}
	_, err = rehearsal.Report(ctx)
	return refused(err, "REFUSED", "backend", "exit code 1", "ARCHIVE_BUCKET is not set", "0 dropped")
}
