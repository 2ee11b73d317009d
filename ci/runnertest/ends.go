package runnertest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// promptly is how soon a canceled run returns.
const promptly = 20 * time.Second

// ends is about how a step can end other than by passing.
var ends = map[string]func(*testing.T, NewRunner){
	"a step that takes too long is stopped and keeps its log": func(t *testing.T, newRunner NewRunner) {
		step := shell("hang", "echo working; sleep 600")
		step.Timeout = 3 * time.Second
		began := time.Now()
		results := run(t, newRunner(t, nil), step, shell("other", "true"), after(step, shell("next", "true")))
		requireStatus(t, ci.TimedOut, results[0])
		assert.Equal(t, "working\n", string(results[0].Log))
		assert.ErrorContains(t, results[0].Err, "3s")
		requireStatus(t, ci.Passed, results[1])
		requireStatus(t, ci.Skipped, results[2])
		assert.Less(t, time.Since(began), patience/2)
	},
	"a canceled run returns promptly": func(t *testing.T, newRunner NewRunner) {
		runner := newRunner(t, nil)
		requireStatus(t, ci.Passed, run(t, runner, shell("warm up", "true"))[0])
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		step := shell("hang", "sleep 600")
		began := time.Now()
		results := runIn(ctx, t, runner, step, after(step, shell("next", "true")), shell("other", "sleep 600"))
		assert.Less(t, time.Since(began), promptly)
		for _, result := range results {
			requireStatus(t, ci.Canceled, result)
		}
	},
	"a run that is canceled before it begins runs nothing": func(t *testing.T, newRunner NewRunner) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("not today"))
		results, err := newRunner(t, nil).Run(ctx, shell("one", "echo ran"))
		if err == nil {
			require.Len(t, results, 1)
			requireStatus(t, ci.Canceled, results[0])
			assert.Empty(t, results[0].Log)
		}
	},
	"a program that is not there breaks its step": func(t *testing.T, newRunner NewRunner) {
		step := shell("missing", "")
		step.Run = [][]string{{"no-such-program-anywhere", "--version"}}
		results := run(t, newRunner(t, nil), step, shell("other", "true"))
		requireStatus(t, ci.Broken, results[0])
		assert.ErrorContains(t, results[0].Err, "no-such-program-anywhere")
		requireStatus(t, ci.Passed, results[1])
	},
	"a long log keeps its beginning and its end": func(t *testing.T, newRunner NewRunner) {
		step := shell("chatty", `echo begin; head -c 4000000 /dev/zero | tr '\0' x; echo; echo end`)
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.LessOrEqual(t, len(result.Log), ci.MaxLog)
		assert.Greater(t, len(result.Log), ci.MaxLog/2)
		assert.True(t, strings.HasPrefix(string(result.Log), "begin\nxxx"))
		assert.True(t, strings.HasSuffix(string(result.Log), "xxx\nend\n"))
		assert.Contains(t, string(result.Log), " cut ")
	},
	"two steps of one name are refused": func(t *testing.T, newRunner NewRunner) {
		_, err := newRunner(t, nil).Run(t.Context(), shell("same", "echo 1"), shell("same", "echo 2"))
		assert.ErrorContains(t, err, "same")
	},
	"no steps give no results": func(t *testing.T, newRunner NewRunner) {
		assert.Empty(t, run(t, newRunner(t, nil)))
	},
}
