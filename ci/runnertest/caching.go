package runnertest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci"
)

// unique is a command that prints something else each time it runs.
const unique = `node -p 'crypto.randomUUID()'`

// caching is about when a step is run again.
var caching = map[string]func(*testing.T, NewRunner){
	"an unchanged step is not run again": func(t *testing.T, newRunner NewRunner) {
		files := map[string]string{"in": "1"}
		step := shell("unit", unique+`; echo "<x/>" >report.xml`, "in")
		step.Reports = []ci.Report{{Format: ci.JUnit, Path: "report.xml"}}
		first := run(t, newRunner(t, files), step)[0]
		requireStatus(t, ci.Passed, first)
		assert.False(t, first.Cached)
		assert.Positive(t, first.Duration)
		again := run(t, newRunner(t, files), step)[0]
		requireStatus(t, ci.Passed, again)
		assert.True(t, again.Cached)
		assert.Zero(t, again.Duration)
		assert.Equal(t, string(first.Log), string(again.Log), "the log is that of the run it was taken from")
		assert.Equal(t, first.Reports, again.Reports)
	},
	"a changed input runs the step again": func(t *testing.T, newRunner NewRunner) {
		step := shell("unit", unique+"; cat in", "in", "gone")
		first := run(t, newRunner(t, map[string]string{"in": "1", "other": "1"}), step)[0]
		other := run(t, newRunner(t, map[string]string{"in": "1", "other": "2"}), step)[0]
		assert.True(t, other.Cached, "a file that is no input does not count")
		for name, files := range map[string]map[string]string{
			"content": {"in": "2"}, "mode": {"in": "#!1"}, "another file": {"in": "1", "gone": ""},
		} {
			changed := run(t, newRunner(t, files), step)[0]
			requireStatus(t, ci.Passed, changed)
			assert.False(t, changed.Cached, name)
			assert.NotEqual(t, string(first.Log), string(changed.Log), name)
		}
		back := run(t, newRunner(t, map[string]string{"in": "1"}), step)[0]
		assert.True(t, back.Cached, "changed back")
	},
	"a changed predecessor runs the step again": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", "cp lock installed", "lock")
		unit := after(install, shell("unit", "cat installed"))
		requireStatus(t, ci.Passed, run(t, newRunner(t, map[string]string{"lock": "1"}), unit)[0])
		result := run(t, newRunner(t, map[string]string{"lock": "2"}), unit)[0]
		requireStatus(t, ci.Passed, result)
		assert.False(t, result.Cached)
		assert.Equal(t, "2", string(result.Log))
	},
	"a new step continues from a cached one": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", unique+" >id; cat id")
		install.Kind = ci.Install
		first := run(t, newRunner(t, nil), install)[0]
		results := run(t, newRunner(t, nil), install, after(install, shell("unit", "cat id")))
		requireStatus(t, ci.Passed, results[1])
		assert.True(t, results[0].Cached)
		assert.Equal(t, string(first.Log), string(results[1].Log))
	},
	"a failure is not remembered": func(t *testing.T, newRunner NewRunner) {
		step := shell("flaky", unique+"; exit 1")
		first := run(t, newRunner(t, nil), step)[0]
		again := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Failed, first)
		requireStatus(t, ci.Failed, again)
		assert.False(t, again.Cached)
		assert.NotEqual(t, string(first.Log), string(again.Log))
	},
	"a secret's value is no part of the key": func(t *testing.T, newRunner NewRunner) {
		step := shell("use", unique)
		step.Secrets = []ci.SecretRef{{Env: "TOKEN", URI: "env://RUNNERTEST_SECRET"}}
		t.Setenv("RUNNERTEST_SECRET", "one value")
		requireStatus(t, ci.Passed, run(t, newRunner(t, nil), step)[0])
		t.Setenv("RUNNERTEST_SECRET", "another value")
		assert.True(t, run(t, newRunner(t, nil), step)[0].Cached)
	},
}
