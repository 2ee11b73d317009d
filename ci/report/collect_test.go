package report

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// ran is a result of a step that began some seconds after the run.
func ran(name string, kind ci.Kind, status ci.Status, from, took float64) ci.Result {
	return ci.Result{
		Step: ci.Step{Name: name, Kind: kind, Run: [][]string{{"tool"}}}, Status: status,
		Started: began.Add(time.Duration(from * float64(time.Second))), Duration: time.Duration(took * float64(time.Second)),
	}
}

func cached(r ci.Result) ci.Result {
	r.Cached, r.Duration = true, 0
	return r
}

func TestAStageLastsAsLongAsItsStepsThatRan(t *testing.T) {
	skipped := ci.Result{Step: ci.Step{Name: "frontend/unit", Kind: ci.Unit}, Status: ci.Skipped, Err: errors.New("frontend/install did not pass")}
	stages, failures := Collect([]ci.Result{
		ran("backend/unit", ci.Unit, ci.Passed, 2, 3), cached(ran("backend/property", ci.Property, ci.Passed, 0, 0)), skipped,
		ran("backend/integration", ci.Integration, ci.Failed, 4, 6),
		cached(ran("backend/lint", ci.Lint, ci.Passed, 1, 0)),
	})
	require.Len(t, stages, 2)
	check, test := stages[0], stages[1]
	assert.Equal(t, []any{"check", Passed, true, 0.0}, []any{check.Name, check.Status, check.Cached, check.Seconds})
	assert.Equal(t, []any{"test", Failed, false, 8.0}, []any{test.Name, test.Status, test.Cached, test.Seconds})
	assert.Equal(t, began.Add(2*time.Second), test.Started)
	assert.Len(t, test.Steps, 4)
	assert.Len(t, failures, 1)
}

func TestAStageOfWhichNothingRanHasNoTime(t *testing.T) {
	stages, _ := Collect([]ci.Result{{Step: ci.Step{Name: "a", Kind: ci.Unit}, Status: ci.Skipped}})
	require.Len(t, stages, 1)
	assert.Equal(t, Skipped, stages[0].Status)
	assert.Zero(t, stages[0].Seconds)
	assert.True(t, stages[0].Started.IsZero())
}

func TestTheVerdictOnSteps(t *testing.T) {
	broken := ran("secrets", ci.Secrets, ci.Broken, 0, 0)
	broken.Err = errors.New("secrets: gitleaks is not on PATH")
	failed, late := ran("backend/unit", ci.Unit, ci.Failed, 0, 1), ran("backend/lint", ci.Lint, ci.TimedOut, 0, 1)
	failed.Log, late.Err = []byte("fatal: no"), errors.New("stopped after 1m0s")
	skipped, interrupted := ran("x", ci.Unit, ci.Skipped, 0, 0), ran("y", ci.Unit, ci.Canceled, 0, 0)
	passed := ran("z", ci.Unit, ci.Passed, 0, 1)
	for name, test := range map[string]struct {
		results []ci.Result
		want    Verdict
		reasons []string
	}{
		"all passed":                     {[]ci.Result{passed, cached(passed)}, Proven, nil},
		"one failed":                     {[]ci.Result{passed, failed, skipped}, Refused, []string{"backend/unit failed: fatal: no"}},
		"one took too long":              {[]ci.Result{late}, Refused, []string{"backend/lint: stopped after 1m0s"}},
		"one could not be run":           {[]ci.Result{passed, broken}, Broken, []string{"secrets: gitleaks is not on PATH"}},
		"one failed, one was not run":    {[]ci.Result{broken, failed}, Refused, []string{"backend/unit failed: fatal: no", "secrets: gitleaks is not on PATH"}},
		"interrupted":                    {[]ci.Result{passed, interrupted}, Broken, []string{"y was canceled"}},
		"a failure before the interrupt": {[]ci.Result{interrupted, failed}, Refused, []string{"backend/unit failed: fatal: no", "y was canceled"}},
	} {
		t.Run(name, func(t *testing.T) {
			verdict, reasons := Judge(test.results)
			assert.Equal(t, test.want, verdict)
			assert.Equal(t, test.reasons, reasons)
		})
	}
}
