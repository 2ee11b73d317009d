package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/metaextract/pipeline/ci"
)

// stageOrder is how a report lists the stages of steps. They run at the same time.
var stageOrder = []string{"install", "check", "test", "build"}

// Collect groups the results of steps into stages. A stage lasts from the start of its first step that was run to the
// end of its last one, and is cached when all of its steps are.
func Collect(results []ci.Result) (stages []Stage, failures []Failure) {
	for _, name := range stageOrder {
		stage := Stage{Name: name, Status: Passed, Cached: true}
		var begin, end time.Time
		for _, result := range results {
			if result.Step.Kind.Stage() != name {
				continue
			}
			step, failed := FromResult(result)
			stage.Steps = append(stage.Steps, step)
			failures = append(failures, failed...)
			stage.Status = worse(stage.Status, step.Status)
			stage.Cached = stage.Cached && result.Cached
			if result.Started.IsZero() {
				continue // it was not run
			}
			if stage.Started.IsZero() || result.Started.Before(stage.Started) {
				stage.Started = result.Started
			}
			if result.Cached {
				continue
			}
			if begin.IsZero() || result.Started.Before(begin) {
				begin = result.Started
			}
			if done := result.Started.Add(result.Duration); done.After(end) {
				end = done
			}
		}
		if len(stage.Steps) == 0 {
			continue
		}
		if !begin.IsZero() {
			stage.Started, stage.Seconds = begin, end.Sub(begin).Seconds()
		}
		stages = append(stages, stage)
	}
	return stages, failures
}

// worse is the status of a stage that has steps of both.
func worse(a, b Status) Status {
	order := []Status{Passed, Skipped, Failed}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// Judge is the verdict on a run of steps, with one reason for each that did not pass, causes before consequences.
// A step that could not be run leaves the verdict open, unless another one already refuses the release.
func Judge(results []ci.Result) (Verdict, []string) {
	verdict := Proven
	var reasons []string
	for _, status := range []ci.Status{ci.Failed, ci.TimedOut, ci.Broken, ci.Canceled} {
		for _, result := range results {
			if result.Status != status {
				continue
			}
			reasons = append(reasons, reason(result))
			if status == ci.Failed || status == ci.TimedOut {
				verdict = Refused
			} else if verdict == Proven {
				verdict = Broken
			}
		}
	}
	return verdict, reasons
}

func reason(result ci.Result) string {
	failures, summary := Failures(result)
	switch {
	case result.Status == ci.Canceled:
		return result.Step.Name + " was canceled"
	case result.Status == ci.Failed && len(failures) == 1:
		return fmt.Sprintf("%s failed: %s", result.Step.Name, failures[0].Title)
	case result.Status == ci.Failed && len(failures) > 1:
		return fmt.Sprintf("%s failed: %s; the first: %s", result.Step.Name, summary, failures[0].Title)
	case result.Status == ci.Failed:
		return fmt.Sprintf("%s failed: %s", result.Step.Name, summary)
	default:
		return fmt.Sprintf("%s: %s", result.Step.Name, firstLine(stepError(result)))
	}
}
