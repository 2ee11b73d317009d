package host

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// patience bounds every wait of these tests; none comes near it on a healthy machine.
const patience = time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func runSteps(t *testing.T, r *Runner, steps ...ci.Step) []ci.Result {
	t.Helper()
	results, err := r.Run(bounded(t), steps...)
	require.NoError(t, err)
	return results
}

func requirePassed(t *testing.T, results ...ci.Result) {
	t.Helper()
	for _, r := range results {
		require.Equal(t, ci.Passed, r.Status, "%v\n%s", r.Err, r.Log)
	}
}

func afterStep(before, step ci.Step) ci.Step {
	step.After = &before
	return step
}

// counting is a step that adds a line to a file outside of everything each time it really runs.
func counting(t *testing.T, name, script string) (step ci.Step, runs func() int) {
	file := filepath.Join(t.TempDir(), "runs")
	step = stepOf(name, `echo ran >>"$RUNS"; `+script)
	step.Env = map[string]string{"RUNS": file}
	return step, func() int {
		data, _ := os.ReadFile(file)
		return strings.Count(string(data), "\n")
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	_, err := New(Options{Source: filepath.Join(t.TempDir(), "absent"), CacheDir: t.TempDir()})
	assert.ErrorContains(t, err, "absent")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = New(Options{Source: file, CacheDir: t.TempDir()})
	assert.ErrorContains(t, err, "source directory")
	_, err = New(Options{Source: t.TempDir(), CacheDir: filepath.Join(file, "cache")})
	assert.ErrorContains(t, err, "cache directory")
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	_, err = New(Options{Source: t.TempDir()})
	assert.ErrorContains(t, err, "XDG_CACHE_HOME")
}

func TestCacheIsPrivate(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	require.NoError(t, os.Mkdir(cache, 0o755))
	newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	info, err := os.Stat(cache)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
}

func TestSourceThatCannotBeReadIsSaid(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	source := sourceOf(t, map[string]string{"secret.txt": ""})
	require.NoError(t, os.Chmod(filepath.Join(source, "secret.txt"), 0))
	result := runSteps(t, newRunner(t, Options{Source: source, CacheDir: t.TempDir()}), stepOf("unit", "true", "**"))[0]
	assert.Equal(t, ci.Broken, result.Status)
	assert.ErrorContains(t, result.Err, "secret.txt")
}

func TestCycleIsRefused(t *testing.T) {
	one, two := stepOf("one", "true"), stepOf("two", "true")
	one.After, two.After = &two, &one
	_, err := newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir()}).Run(bounded(t), one)
	assert.ErrorContains(t, err, "continues from itself")
}

func TestClosedRunnerRunsNothing(t *testing.T) {
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir()})
	require.NoError(t, r.Close())
	_, err := r.Run(bounded(t), stepOf("unit", "true"))
	assert.ErrorContains(t, err, "closed")
	assert.NoError(t, r.Close())
}

func TestLayersAreThereForLaterStages(t *testing.T) {
	cache := t.TempDir()
	install := stepOf("install", "echo lib >lib")
	install.Kind = ci.Install
	build := afterStep(install, stepOf("build", "mkdir dist; echo 1 >dist/index.html"))
	build.Kind = ci.Build
	unit := afterStep(install, stepOf("unit", "true"))
	failing := stepOf("failing", "exit 1")
	failing.Kind = ci.Build

	for _, name := range []string{"made", "taken from the cache"} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
			results := runSteps(t, r, build, unit, failing)
			requirePassed(t, results[:2]...)
			assert.Equal(t, name != "made", results[0].Cached)
			dir, ok := r.Layer(build)
			require.True(t, ok)
			assert.FileExists(t, filepath.Join(dir, "dist/index.html"))
			assert.FileExists(t, filepath.Join(dir, "lib"))
			for _, step := range []ci.Step{unit, failing, stepOf("unknown", "")} {
				_, ok := r.Layer(step)
				assert.False(t, ok, step.Name)
				_, err := r.Artifact(step)
				assert.ErrorContains(t, err, step.Name)
			}
			artifact, err := r.Artifact(build)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(artifact, "dist/index.html"), []byte("written"), 0o644))
			data, err := os.ReadFile(filepath.Join(dir, "dist/index.html"))
			require.NoError(t, err)
			assert.Equal(t, "1\n", string(data), "what an artifact's user writes is not in the layer")
			require.NoError(t, r.Close())
			assert.NoDirExists(t, artifact)
			assert.DirExists(t, dir)
		})
	}
}

func TestOnlyNeededLayersStay(t *testing.T) {
	cache := t.TempDir()
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	install := stepOf("install", "true")
	install.Kind = ci.Install
	runSteps(t, r, install, afterStep(install, stepOf("unit", "true")), stepOf("lint", "true"), stepOf("failing", "exit 1"))
	layers, err := os.ReadDir(filepath.Join(cache, "layers"))
	require.NoError(t, err)
	assert.Len(t, layers, 1)
	scratch, err := os.ReadDir(r.scratch.dir)
	require.NoError(t, err)
	assert.Len(t, scratch, 1, "the lock")
}

func TestARemovedLayerIsMadeAgainWhenItIsNeeded(t *testing.T) {
	cache := t.TempDir()
	install, runs := counting(t, "install", "echo lib >lib")
	install.Kind = ci.Install
	unit := afterStep(install, stepOf("unit", "cat lib"))
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	requirePassed(t, runSteps(t, r, unit)...)
	require.NoError(t, r.Close())
	removeTree(filepath.Join(cache, "layers"))

	r = newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	requirePassed(t, runSteps(t, r, unit)...)
	assert.Equal(t, 1, runs(), "its result alone does not need it")
	requirePassed(t, runSteps(t, r, unit, afterStep(install, stepOf("lint", "cat lib")))...)
	assert.Equal(t, 2, runs())
}

func TestNoCacheRunsEveryStepOnceARunner(t *testing.T) {
	cache := t.TempDir()
	install, installs := counting(t, "install", "echo lib >lib")
	install.Kind = ci.Install
	lint, lints := counting(t, "lint", "true")
	for i := range 2 {
		r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache, NoCache: true})
		for range 2 {
			requirePassed(t, runSteps(t, r, lint, afterStep(install, stepOf("unit", "cat lib")))...)
		}
		assert.Equal(t, i+1, installs())
		assert.Equal(t, i+1, lints())
		require.NoError(t, r.Close())
	}
	layers, err := os.ReadDir(filepath.Join(cache, "layers"))
	require.NoError(t, err)
	assert.Len(t, layers, 1, "the new layer replaced the old one")
	requirePassed(t, runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: cache}), lint)...)
	assert.Equal(t, 2, lints(), "what NoCache made is used by others")
}

func TestTwoRunnersOnOneCacheShareTheWork(t *testing.T) {
	cache, source := t.TempDir(), sourceOf(t, map[string]string{"a": "1"})
	install, installs := counting(t, "install", "sleep 0.3; echo lib >lib")
	install.Kind = ci.Install
	unit, units := counting(t, "unit", "sleep 0.1; cat lib")
	unit = afterStep(install, unit)
	var wait sync.WaitGroup
	results := make([][]ci.Result, 4)
	for i := range results {
		r := newRunner(t, Options{Source: source, CacheDir: cache})
		wait.Go(func() { results[i], _ = r.Run(bounded(t), install, unit) })
	}
	wait.Wait()
	cached := 0
	for _, pair := range results {
		requirePassed(t, pair...)
		assert.Equal(t, "lib\n", string(pair[1].Log))
		if pair[1].Cached {
			cached++
		}
	}
	assert.Equal(t, 1, installs())
	assert.Equal(t, 1, units())
	assert.Equal(t, len(results)-1, cached)
}

func TestOneRunnerMayRunTwice(t *testing.T) {
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir(), NoCache: true})
	install, installs := counting(t, "install", "sleep 0.2; echo lib >lib")
	var wait sync.WaitGroup
	for _, name := range []string{"check", "test"} {
		wait.Go(func() {
			results, err := r.Run(bounded(t), afterStep(install, stepOf(name, "cat lib")))
			assert.NoError(t, err)
			assert.Equal(t, ci.Passed, results[0].Status, results[0].Err)
		})
	}
	wait.Wait()
	assert.Equal(t, 1, installs())
}

func TestNoMoreThanJobsStepsRunAtOnce(t *testing.T) {
	dir := t.TempDir()
	var steps []ci.Step
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		s := stepOf(name, `touch "$D/$0"; ls "$D" | wc -l; sleep 0.1; rm "$D/$0"`)
		s.Run[0] = append(s.Run[0], name)
		s.Env = map[string]string{"D": dir}
		steps = append(steps, s)
	}
	most := 0
	for _, result := range runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir(), Jobs: 2}), steps...) {
		requirePassed(t, result)
		most = max(most, int(strings.TrimSpace(string(result.Log))[0]-'0'))
	}
	assert.Equal(t, 2, most)
}

func TestTheLongestChainIsStartedFirst(t *testing.T) {
	watch := &watcher{}
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir(), Jobs: 1, Observer: watch})
	install := stepOf("install", "true")
	build := afterStep(install, stepOf("build", "true"))
	runSteps(t, r, stepOf("lint", "true"), afterStep(build, stepOf("pack", "true")))
	assert.Equal(t, []string{"install", "build", "lint", "pack"}, watch.started)
	assert.Equal(t, watch.started, watch.finished)
	assert.Empty(t, watch.cached)
	runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: r.store.dir, Observer: watch}), stepOf("lint", "true"))
	assert.Len(t, watch.started, 4, "what is taken from the cache is not started")
	assert.Equal(t, []string{"lint"}, watch.cached)
}

type watcher struct {
	mu                        sync.Mutex
	started, finished, cached []string
}

func (w *watcher) StepStarted(step ci.Step, _ time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started = append(w.started, step.Name)
}

func (w *watcher) StepFinished(result ci.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finished = append(w.finished, result.Step.Name)
	if result.Cached {
		w.cached = append(w.cached, result.Step.Name)
	}
}

func TestLogIsPassedOnAsItComes(t *testing.T) {
	var log bytes.Buffer
	t.Setenv("HOST_TEST_TOKEN", "hunter2-hunter2")
	step := stepOf("unit", `echo "hello $TOKEN"; printf end`)
	step.Secrets = []ci.SecretRef{{Env: "TOKEN", URI: "env://HOST_TEST_TOKEN"}}
	requirePassed(t, runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir(), Log: &log}), step)...)
	assert.Equal(t, "unit | hello ***\nunit | end\n", log.String())
}

func TestMissingProgramSaysHowToGetIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	step := stepOf("unit", "true")
	step.Tool.Programs = []string{"exiftool"}
	result := runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir()}), step)[0]
	assert.Equal(t, ci.Broken, result.Status)
	assert.ErrorContains(t, result.Err, "exiftool is not on PATH")
	assert.ErrorContains(t, result.Err, "libimage-exiftool-perl")
}

func TestAVirtualEnvironmentWorksInLaterSteps(t *testing.T) {
	install := ci.Step{Name: "install", Kind: ci.Install, Dir: "app", Tool: ci.Tool{Programs: []string{"python3"}}, Run: [][]string{
		{"python3", "-m", "venv", "--without-pip", ".venv"},
		{"sh", "-c", `printf '#!%s/.venv/bin/python\nimport sys; print(sys.prefix)\n' "$PWD" >.venv/bin/tool; chmod +x .venv/bin/tool`},
	}}
	unit := afterStep(install, stepOf("unit", ".venv/bin/tool; .venv/bin/python -c 'import sys; print(sys.prefix)'"))
	unit.Dir = "app"
	result := runSteps(t, newRunner(t, Options{Source: t.TempDir(), CacheDir: t.TempDir()}), unit)[0]
	requirePassed(t, result)
	assert.Equal(t, "/src/app/.venv\n/src/app/.venv\n", string(result.Log))
}

func TestAFileWrittenInPlaceDoesNotReachALaterRun(t *testing.T) {
	cache := t.TempDir()
	install, installs := counting(t, "install", "mkdir -p node_modules/lib; echo good >node_modules/lib/index.js")
	install.Kind = ci.Install
	rude := afterStep(install, stepOf("rude", "echo bad >node_modules/lib/index.js"))
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	result := runSteps(t, r, rude)[0]
	requirePassed(t, result)
	assert.Contains(t, string(result.Log), "/src/node_modules/lib/index.js was changed in place")
	require.NoError(t, r.Close())

	r = newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	result = runSteps(t, r, afterStep(install, stepOf("unit", "cat node_modules/lib/index.js")))[0]
	requirePassed(t, result)
	assert.Equal(t, "good\n", string(result.Log))
	assert.Equal(t, 2, installs())
}
