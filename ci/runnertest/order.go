package runnertest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// order is about which step runs when, and on what.
var order = map[string]func(*testing.T, NewRunner){
	"results are in the order of the steps": func(t *testing.T, newRunner NewRunner) {
		runner := newRunner(t, nil)
		results := run(t, runner, shell("slow", "sleep 0.3; echo slow"), shell("fast", "echo fast"), shell("failing", "exit 1"))
		requireStatus(t, ci.Passed, results[0])
		requireStatus(t, ci.Passed, results[1])
		requireStatus(t, ci.Failed, results[2])
		assert.Equal(t, "slow\n", string(results[0].Log))
		assert.Equal(t, "fast\n", string(results[1].Log))
	},
	"commands run in order until one fails": func(t *testing.T, newRunner NewRunner) {
		step := shell("several", "")
		step.Run = [][]string{{"sh", "-c", "echo one; echo two >&2"}, {"sh", "-c", "exit 7"}, {"sh", "-c", "echo never"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Failed, result)
		assert.Equal(t, "one\ntwo\n", string(result.Log))
		assert.Equal(t, 7, result.ExitCode)
		assert.Equal(t, []string{"sh", "-c", "exit 7"}, result.Command)
		assert.ErrorContains(t, result.Err, "exit 7")
	},
	"a step sees what the one it continues from left": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", "mkdir -p sub node_modules/a; echo made >sub/made; echo lib >node_modules/a/index.js; echo 1 >~/state; ln -s made sub/link; echo '#!/bin/sh' >sub/tool; echo 'echo tool' >>sub/tool; chmod +x sub/tool")
		install.Kind = ci.Install
		unit := after(install, shell("unit", "cat sub/made sub/link node_modules/a/index.js ~/state own; sub/tool", "own"))
		results := run(t, newRunner(t, map[string]string{"own": "input\n"}), install, unit)
		requireStatus(t, ci.Passed, results[1])
		assert.Equal(t, "made\nmade\nlib\n1\ninput\ntool\n", string(results[1].Log))
	},
	"inputs replace what the step before left": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", "echo generated >file")
		unit := after(install, shell("unit", "cat file", "file"))
		requireStatus(t, ci.Passed, run(t, newRunner(t, map[string]string{"file": "source\n"}), unit)[0])
		result := run(t, newRunner(t, map[string]string{"file": "source\n"}), unit)[0]
		assert.Equal(t, "source\n", string(result.Log))
	},
	"steps with a common predecessor do not see each other": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", "echo base >shared")
		script := "sleep 0.2; echo $0 >>shared; touch $0; sleep 0.2; cat shared; ls"
		one, two := after(install, shell("one", script)), after(install, shell("two", script))
		one.Run[0], two.Run[0] = append(one.Run[0], "one"), append(two.Run[0], "two")
		results := run(t, newRunner(t, nil), one, two, after(install, shell("three", "cat shared; ls")))
		for i, want := range []string{"base\none\none\nshared\n", "base\ntwo\nshared\ntwo\n", "base\nshared\n"} {
			requireStatus(t, ci.Passed, results[i])
			assert.Equal(t, want, string(results[i].Log))
		}
	},
	"a predecessor that is not listed is run once": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", "cat /proc/sys/kernel/random/uuid >id 2>/dev/null || date +%s%N >id")
		results := run(t, newRunner(t, nil), after(install, shell("one", "cat id; echo 1")), after(install, shell("two", "cat id; echo 2")))
		requireStatus(t, ci.Passed, results[0])
		requireStatus(t, ci.Passed, results[1])
		require.Greater(t, len(results[0].Log), 10)
		assert.Equal(t, string(results[0].Log[:len(results[0].Log)-2]), string(results[1].Log[:len(results[1].Log)-2]))
	},
	"a failing step stops only those that continue from it": func(t *testing.T, newRunner NewRunner) {
		install := shell("install", "echo no such package; exit 1")
		build := after(install, shell("build", "true"))
		results := run(t, newRunner(t, nil), build, install, after(build, shell("wheel", "true")), shell("other", "sleep 0.2; echo fine"))
		requireStatus(t, ci.Skipped, results[0])
		assert.ErrorContains(t, results[0].Err, "install", "it says because of which step")
		requireStatus(t, ci.Failed, results[1])
		assert.Equal(t, "no such package\n", string(results[1].Log))
		requireStatus(t, ci.Skipped, results[2])
		requireStatus(t, ci.Passed, results[3])
	},
}
