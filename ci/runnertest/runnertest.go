// Package runnertest is what every ci.Runner must do, as tests. internal/host and internal/engine both pass it, which is
// what makes a step mean the same on a laptop, in CI and on an engine.
//
// Its steps use nothing but a shell and Node.js. They differ from run to run (see salt), so that an engine with a cache
// that outlives the tests runs them.
package runnertest

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// SourceRoot is what logs and reports call the source root: no runner shows the directory it really has, which differs
// from run to run. It is the working directory of a step whose Dir is ".".
const SourceRoot = "/src"

// patience bounds each case: an engine may have to fetch an image first.
const patience = 3 * time.Minute

// NewRunner makes a runner on a source tree, given as WriteTree takes it. All runners of one test share a cache.
type NewRunner func(t *testing.T, files map[string]string) ci.Runner

// WriteTree writes a source tree to a temporary directory: file contents by slash-separated path. Contents that begin
// with "#!" are executable; ones that begin with "-> " are symbolic links to what follows.
func WriteTree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		target := filepath.Join(root, filepath.FromSlash(path))
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
		if link, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(t, os.Symlink(link, target))
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		require.NoError(t, os.WriteFile(target, []byte(content), mode))
	}
	return root
}

// Run runs the suite.
func Run(t *testing.T, newRunner NewRunner) {
	for _, group := range []map[string]func(*testing.T, NewRunner){order, isolation, ends, collecting, caching, services} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) { test(t, newRunner) })
		}
	}
}

// node is a tool that has everything the suite uses.
var node = ci.Tool{Name: "node", Image: ci.NodeImage, Programs: []string{"node"}}

// salt makes a step one that no earlier run of the suite can have run.
func salt() map[string]string { return map[string]string{"SALT": rand.Text()} }

// shell is a step that runs a script on the given inputs.
func shell(name, script string, inputs ...string) ci.Step {
	return ci.Step{
		Name: name, Kind: ci.Lint, Tool: node, Dir: ".", Inputs: inputs, Env: salt(),
		Run: [][]string{{"sh", "-c", script}}, Timeout: patience / 2,
	}
}

// after makes a step continue from another.
func after(previous ci.Step, step ci.Step) ci.Step {
	step.After = &previous
	return step
}

// run runs steps and returns their results, which must be in order.
func run(t *testing.T, runner ci.Runner, steps ...ci.Step) []ci.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return runIn(ctx, t, runner, steps...)
}

func runIn(ctx context.Context, t *testing.T, runner ci.Runner, steps ...ci.Step) []ci.Result {
	t.Helper()
	results, err := runner.Run(ctx, steps...)
	require.NoError(t, err)
	require.Len(t, results, len(steps))
	for i := range steps {
		require.Equal(t, steps[i].Name, results[i].Step.Name, "results are in the order of the steps")
		if results[i].Status == ci.Passed {
			require.NoError(t, results[i].Err)
		} else {
			require.Error(t, results[i].Err, "every status but passed says why")
			require.ErrorContains(t, results[i].Err, steps[i].Name)
		}
	}
	return results
}

// requireStatus fails with the log, which is what tells why.
func requireStatus(t *testing.T, want ci.Status, result ci.Result) {
	t.Helper()
	require.Equal(t, want, result.Status, "%s: %v\n%s", result.Step.Name, result.Err, result.Log)
}
