package runnertest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci"
)

// collecting is about reports and outputs.
//
// A report that is not there is none and no failure: a test runner that ends early writes none, and its exit code says
// enough. An output that is not there fails a step that passed otherwise: a later stage needs it.
var collecting = map[string]func(*testing.T, NewRunner){
	"reports are kept when the command fails": func(t *testing.T, newRunner NewRunner) {
		step := shell("test", "mkdir -p out; echo '<testsuites/>' >out/junit.xml; pwd >where.sarif; exit 1")
		step.Dir = "app"
		step.Reports = []ci.Report{{Format: ci.JUnit, Path: "out/junit.xml"}, {Format: ci.JestJSON, Path: "absent.json"}, {Format: ci.SARIF, Path: "where.sarif"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Failed, result)
		assert.Equal(t, []ci.ReportFile{
			{Report: step.Reports[0], Data: []byte("<testsuites/>\n")},
			{Report: step.Reports[2], Data: []byte(SourceRoot + "/app\n")},
		}, result.Reports)
	},
	"a report that is not there is no failure": func(t *testing.T, newRunner NewRunner) {
		step := shell("test", "true")
		step.Reports = []ci.Report{{Format: ci.JUnit, Path: "absent.xml"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.Empty(t, result.Reports)
	},
	"an output that is not there fails the step": func(t *testing.T, newRunner NewRunner) {
		step := shell("build", "mkdir other")
		step.Kind, step.Outputs = ci.Build, []ci.Output{{Name: "bundle", Path: "dist"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Failed, result)
		assert.ErrorContains(t, result.Err, "dist")
	},
	"an output that is there passes": func(t *testing.T, newRunner NewRunner) {
		step := shell("build", "mkdir -p dist; echo 1 >dist/index.html")
		step.Kind, step.Outputs = ci.Build, []ci.Output{{Name: "bundle", Path: "dist"}}
		requireStatus(t, ci.Passed, run(t, newRunner(t, nil), step)[0])
	},
}
