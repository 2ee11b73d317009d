package rehearse

import (
	"bytes"
	"context"
	"sync"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/migrations/corpus"
)

// build checks, tests and builds the release, and builds the running one, at the same time.
func (r *run) build(ctx context.Context) error {
	var err error
	if r.next.plan, err = ci.NewPlan(r.Release.Config, r.Release.Files, r.Images); err != nil {
		return broken("plan the release: %w", err)
	}
	if r.next.builder, err = r.Platform.Builder(ctx, r.Release, r.Progress); err != nil {
		return broken("prepare the release: %w", err)
	}
	if r.Self {
		r.old = r.next
	} else {
		if r.old.plan, err = ci.NewPlan(r.Running.Config, r.Running.Files, r.Images); err != nil {
			return broken("plan the running release: %w", err)
		}
		if r.old.builder, err = r.Platform.Builder(ctx, r.Running, nil); err != nil {
			return broken("prepare the running release: %w", err)
		}
	}

	var wg sync.WaitGroup
	var old []ci.Result
	var oldErr error
	if !r.Self {
		// Its integration tests are run for what they send to the database.
		kinds := []ci.Kind{ci.Install, ci.Build}
		if r.Running.Config.Database != nil {
			kinds = append(kinds, ci.Integration)
		}
		wg.Go(func() { old, oldErr = r.old.builder.Run(ctx, r.old.plan.Of(kinds...)...) })
	}
	results, err := r.next.builder.Run(ctx, r.next.plan.Of()...)
	wg.Wait()
	r.out.CISeconds = r.Now().Sub(r.out.Started).Seconds()
	if err != nil {
		return broken("run the steps: %w", err)
	}
	r.collect(results)
	if oldErr != nil {
		return broken("build the running release: %w", oldErr)
	}
	if err := r.consider(results); err != nil {
		return err
	}
	if r.Self {
		old = results
	}
	r.old.statements = recorded(old)
	for _, result := range old {
		if result.Status != ci.Passed && result.Step.Kind != ci.Integration && !r.Self {
			return broken("the running release (%s) cannot be built, so there is nothing to rehearse from: %s: %w", r.Running.Origin, result.Step.Name, result.Err)
		}
	}
	return nil
}

// collect puts the steps' results into the report.
func (r *run) collect(results []ci.Result) {
	stages, failures := report.Collect(results)
	r.out.Stages = append(r.out.Stages, stages...)
	r.out.Failures = append(r.out.Failures, failures...)
}

// consider takes the steps' verdict as the rehearsal's so far. A release that a check or a test refuses is rehearsed all
// the same, so that one run tells everything that is wrong; one that was not built cannot be.
func (r *run) consider(results []ci.Result) error {
	verdict, reasons := report.Judge(results)
	r.out.Reasons = append(r.out.Reasons, reasons...)
	if verdict == report.Proven {
		return nil
	}
	r.out.Verdict = verdict
	for _, result := range results {
		made := result.Step.Kind == ci.Install || result.Step.Kind == ci.Build
		if made && result.Status != ci.Passed || result.Status == ci.Canceled {
			return errJudged
		}
	}
	return nil
}

// recorded are the statements that steps have sent to their databases.
func recorded(results []ci.Result) []corpus.Statement {
	var all []corpus.Statement
	for _, result := range results {
		for _, file := range result.Reports {
			if file.Format != ci.Statements {
				continue
			}
			if list, err := corpus.Decode(bytes.NewReader(file.Data)); err == nil {
				all = corpus.Merge(all, list)
			}
		}
	}
	return all
}
