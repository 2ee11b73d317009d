package report

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// The steps of the fixtures, which were made by the tools themselves in /workspace/frontend and /workspace/backend.
var (
	frontend = ci.Step{
		Name: "frontend/unit", Kind: ci.Unit, Dir: "frontend",
		Run: [][]string{{"npx", "jest", "--config", "jest.config.js", "--json", "--outputFile=jest.json"}},
		Env: map[string]string{"NODE_OPTIONS": "--experimental-vm-modules"},
	}
	backend = ci.Step{
		Name: "backend/unit", Kind: ci.Unit, Dir: "backend",
		Run: [][]string{{"python", "-m", "pytest", "--junitxml=junit.xml"}}, Env: map[string]string{"CI": "true"},
	}
	repository = ci.Step{Name: "secrets", Kind: ci.Secrets, Run: [][]string{{"gitleaks", "dir"}}}
)

func withReport(step ci.Step, format ci.Format, data []byte) ci.Result {
	return ci.Result{Step: step, Status: ci.Failed, ExitCode: 1, Reports: []ci.ReportFile{{Report: ci.Report{Format: format}, Data: data}}}
}

func withLog(step ci.Step, log []byte) ci.Result {
	return ci.Result{Step: step, Status: ci.Failed, ExitCode: 1, Command: step.Run[0], Log: log}
}

func TestTheFirstFailureNamesWhatAndWhere(t *testing.T) {
	for name, test := range map[string]struct {
		result       ci.Result
		title, place string
		count        int
	}{
		"Jest JSON":                   {withReport(frontend, ci.JestJSON, fixture(t, "jest", "failures.json")), "formatBytes › writes kibibytes with one digit", "frontend/src/format.test.ts:5:31", 5},
		"JUnit of pytest":             {withReport(backend, ci.JUnit, fixture(t, "junit", "failures.xml")), "test_kind_of_a_photo", "backend/tests/unit/test_extract.py:7", 6},
		"JUnit with files":            {withReport(backend, ci.JUnit, fixture(t, "junit", "xunit1.xml")), "test_sums", "backend/tests/unit/test_extract.py:21", 1},
		"JUnit of a collection error": {withReport(backend, ci.JUnit, fixture(t, "junit", "collection.xml")), "ModuleNotFoundError: No module named 'metaextract.nothing'", "backend/tests/unit/test_broken.py:1", 1},
		"SARIF of gitleaks":           {withReport(repository, ci.SARIF, fixture(t, "sarif", "gitleaks.sarif")), "gitleaks: aws-access-token", "backend/src/metaextract/settings.py:12:15", 2},
		"Jest without report":         {withLog(frontend, fixture(t, "logs", "jest.log")), "formatBytes › writes kibibytes with one digit", "frontend/src/format.test.ts:5:31", 5},
		"pytest without report":       {withLog(backend, fixture(t, "logs", "pytest.log")), "test_kind_of_a_photo", "backend/tests/unit/test_extract.py:7", 6},
		"pytest that cannot collect":  {withLog(backend, fixture(t, "logs", "pytest-collection.log")), "tests/unit/test_broken.py: ModuleNotFoundError: No module named 'metaextract.nothing'", "backend/tests/unit/test_broken.py:1", 1},
		"ESLint":                      {withLog(frontend, fixture(t, "logs", "eslint.log")), "'unused' is assigned a value but never used @typescript-eslint/no-unused-vars", "frontend/src/bad.ts:1:5", 3},
		"ESLint that crashed":         {withLog(frontend, fixture(t, "logs", "eslint-crash.log")), "TypeError: contextOrFilename.getFilename is not a function", "", 1},
		"TypeScript":                  {withLog(frontend, fixture(t, "logs", "tsc.log")), "TS2322: Type 'string' is not assignable to type 'number'.", "frontend/src/bad.ts:3:7", 2},
		"Vite":                        {withLog(frontend, fixture(t, "logs", "vite.log")), "Could not resolve './gone' in src/bad.ts", "frontend/src/bad.ts:4:22", 1},
		"esbuild":                     {withLog(frontend, fixture(t, "logs", "esbuild.log")), `Could not resolve "./gone"`, "frontend/src/main.tsx:4:21", 1},
		"rollup":                      {withLog(frontend, fixture(t, "logs", "rollup.log")), `src/main.tsx (4:9): "gone" is not exported by "src/util.ts", imported by "src/main.tsx".`, "frontend/src/main.tsx:4:9", 1},
		"a Node program":              {withLog(frontend, fixture(t, "logs", "node-crash.log")), "Error: VITE_API is not set", "frontend/vite.config.ts:3", 1},
		"ruff":                        {withLog(backend, fixture(t, "logs", "ruff.log")), "F401 `os` imported but unused", "backend/src/metaextract/extract.py:1:8", 5},
		"mypy":                        {withLog(backend, fixture(t, "logs", "mypy.log")), `Incompatible return value type (got "int", expected "str") [return-value]`, "backend/src/metaextract/extract.py:10", 1},
		"pylint":                      {withLog(backend, fixture(t, "logs", "pylint.log")), "C0114: Missing module docstring (missing-module-docstring)", "backend/src/metaextract/extract.py:1", 2},
		"a Python program":            {withLog(backend, fixture(t, "logs", "python-traceback.log")), "KeyError: 'DATABASE_URL'", "backend/src/metaextract/settings.py:31", 1},
		"npm ci with a stale lock":    {withLog(frontend, fixture(t, "logs", "npm-ci.log")), "npm: EUSAGE: `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync. Please update your lock file with `npm install` before continuing.", "", 1},
		"npm without the package":     {withLog(frontend, fixture(t, "logs", "npm-404.log")), "npm: E404: Not Found - GET https://registry.example/nosuchpkg-zzz-yyy", "", 1},
		"npm without the script":      {withLog(frontend, fixture(t, "logs", "npm-script.log")), `npm: Missing script: "nope"`, "", 1},
		"a script that says nothing":  {withLog(frontend, fixture(t, "logs", "npm-silent.log")), "npx jest --config jest.config.js --json --outputFile=jest.json: exit code 1", "", 1},
		"pip":                         {withLog(backend, fixture(t, "logs", "pip.log")), "Could not find a version that satisfies the requirement nosuchpackage-zzz==9 (from versions: none)", "", 1},
		"a program nobody knows":      {withLog(backend, []byte("starting\nfatal: the disk is full\nbye\n\n")), "fatal: the disk is full", "", 1},
		"no output at all":            {withLog(backend, nil), "python -m pytest --junitxml=junit.xml: exit code 1", "", 1},
		"a report that is garbage":    {withReport(frontend, ci.JestJSON, []byte("{")), "frontend/unit: exit code 1", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			failures, _ := Failures(test.result)
			require.NotEmpty(t, failures)
			assert.Equal(t, test.title, failures[0].Title)
			assert.Equal(t, test.place, failures[0].Place())
			assert.Len(t, failures, test.count)
			assert.Equal(t, test.result.Step.Name, failures[0].Step)
			for _, f := range failures {
				assert.NotContains(t, fmt.Sprint(f), "/workspace", "the runner's directory")
			}
		})
	}
}

func TestAFailureIsReproducedByOneCommand(t *testing.T) {
	first := func(r ci.Result, i int) string {
		failures, _ := Failures(r)
		require.Greater(t, len(failures), i)
		return failures[i].Reproduce
	}
	jest, junit := fixture(t, "jest", "failures.json"), fixture(t, "junit", "failures.xml")
	const options = "NODE_OPTIONS=--experimental-vm-modules npx jest --config jest.config.js"
	assert.Equal(t, "cd frontend && "+options+" -t 'formatBytes writes kibibytes with one digit' src/format.test.ts", first(withReport(frontend, ci.JestJSON, jest), 0))
	assert.Equal(t, "cd frontend && "+options+" -t 'bump stays below 100' --seed=-1536554471 src/format.property.test.ts", first(withReport(frontend, ci.JestJSON, jest), 3))
	assert.Equal(t, "cd frontend && "+options+" src/broken.test.ts", first(withReport(frontend, ci.JestJSON, jest), 4))

	script := frontend
	script.Run = [][]string{{"npm", "ci"}, {"npm", "run", "test:property", "--", "--json"}}
	assert.Equal(t, "cd frontend && npm run test:property -- -t 'bump stays below 100' --seed=-1536554471 src/format.property.test.ts", first(withReport(script, ci.JestJSON, jest), 3))
	script.Run = [][]string{{"npm", "test"}}
	assert.Equal(t, "cd frontend && npm test -- src/broken.test.ts", first(withReport(script, ci.JestJSON, jest), 4))

	assert.Equal(t, "cd backend && python -m pytest tests/unit/test_extract.py::test_kind_of_a_photo", first(withReport(backend, ci.JUnit, junit), 0))
	assert.Equal(t, "cd backend && CI=true python -m pytest tests/unit/test_extract.py::test_kind_of_any_name", first(withReport(backend, ci.JUnit, junit), 2))
	assert.Equal(t, "cd backend && python -m pytest 'tests/unit/test_extract.py::TestClass::test_param[a]'", first(withReport(backend, ci.JUnit, junit), 4))

	seeded := backend
	seeded.Env, seeded.Services = nil, []ci.Service{{Kind: ci.Postgres, Env: "DATABASE_URL"}}
	seeded.Run = [][]string{{"python", "-m", "pytest", "--hypothesis-seed=7"}}
	result := withReport(seeded, ci.JUnit, junit)
	result.Command = seeded.Run[0]
	assert.Equal(t, "cd backend && python -m pytest tests/unit/test_extract.py::test_sums --hypothesis-seed=7  # needs DATABASE_URL", first(result, 3))

	assert.Equal(t, "gitleaks dir", first(withReport(repository, ci.SARIF, fixture(t, "sarif", "gitleaks.sarif")), 0))
}

func TestAPropertyFailureHasSeedAndCounterexample(t *testing.T) {
	failures, summary := Failures(withReport(frontend, ci.JestJSON, fixture(t, "jest", "failures.json")))
	assert.Equal(t, "5 of 9 tests failed, 1 skipped, 1 flaky: is flaky", summary)
	f := failures[3]
	assert.Equal(t, "bump › stays below 100", f.Title, "without the seed that fast-check appends")
	assert.Equal(t, "-1536554471", f.Seed)
	assert.Equal(t, "[[100]]", f.Example)
	assert.Equal(t, 28, f.Shrinks)
	assert.Equal(t, `{ seed: -1536554471, path: "0:0:1:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:2:0:0", endOnFailure: true }`, f.Replay)
	assert.Equal(t, "frontend/src/format.property.test.ts", f.Place(), "no line: the location is a line of the library")

	failures, summary = Failures(withReport(backend, ci.JUnit, fixture(t, "junit", "failures.xml")))
	assert.Equal(t, "6 of 8 tests failed, 1 skipped", summary)
	assert.Equal(t, "test_sums(a=0, b=100)", failures[3].Example)
	assert.Equal(t, "@reproduce_failure('6.170.15', b'AEEAQWQ=')", failures[3].Replay)
	assert.Equal(t, "> assert abs(a + b) < 100, \"sum too big\"\nAssertionError: sum too big\nassert 100 < 100\n +  where 100 = abs((0 + 100))", failures[3].Message)
}

func TestAnOlderHypothesisAndASeedInItsAdvice(t *testing.T) {
	failures, _ := Failures(withReport(backend, ci.JUnit, []byte(`<testsuite><testcase classname="tests.test_a" name="test_b"><failure message="E">
tests/test_a.py:4: AssertionError
E   AssertionError
E   Falsifying example: test_b(
E       x=[0, 1],
E   )
E   You can add @seed(302934307671667531413257853548643485645) to this test or run pytest with --hypothesis-seed=302934307671667531413257853548643485645 to reproduce this failure.
</failure></testcase></testsuite>`)))
	require.Len(t, failures, 1)
	assert.Equal(t, "test_b(x=[0, 1])", failures[0].Example)
	assert.Equal(t, "302934307671667531413257853548643485645", failures[0].Seed)
	assert.Contains(t, failures[0].Reproduce, "tests/test_a.py::test_b --hypothesis-seed=302934307671667531413257853548643485645")
	assert.NotContains(t, failures[0].Message, "@seed")
}

func TestACounterexampleOfSeveralLines(t *testing.T) {
	failures, _ := Failures(withReport(frontend, ci.JestJSON, []byte(`{"testResults":[{"name":"/w/frontend/a.test.ts","status":"failed","assertionResults":[{
		"title":"reads","fullName":"reads","status":"failed","failureMessages":["Error: Property failed after 3 tests\n{ seed: 5, path: \"2\", endOnFailure: true }\nCounterexample: [\"a\nb\"]\nShrunk 0 time(s)\n\nGot AssertionError: no"]}]}]}`)))
	require.Len(t, failures, 1)
	assert.Equal(t, "[\"a\nb\"]", failures[0].Example)
	assert.NotContains(t, failures[0].Reproduce, "--seed", "Jest's seed is not fast-check's where the name does not say so")
}

func TestAFindingNeverShowsTheSecret(t *testing.T) {
	failures, summary := Failures(withReport(repository, ci.SARIF, fixture(t, "sarif", "gitleaks.sarif")))
	assert.Equal(t, "2 findings", summary)
	assert.NotContains(t, fmt.Sprint(failures), "hunter2")
	assert.Equal(t, "frontend/my file.ts:3:2", failures[1].Place())
	assert.Contains(t, failures[0].Message, "in commit 4f1d0a5b3e7f96a2d1c0b9e8f7a6d5c4b3a29180")
}

func TestAStepThatPassedHasNoFailures(t *testing.T) {
	result := withReport(frontend, ci.JestJSON, []byte(`{"testResults":[{"assertionResults":[{"status":"passed","title":"a","invocations":1},{"status":"passed","title":"b (with seed=7)","invocations":2}]}]}`))
	result.Status = ci.Passed
	failures, summary := Failures(result)
	assert.Empty(t, failures)
	assert.Equal(t, "2 tests, 1 flaky: b", summary)
}

func TestAStepThatWasNotRunIsNoFailureOfItsOwn(t *testing.T) {
	for _, status := range []ci.Status{ci.Skipped, ci.Canceled} {
		failures, summary := Failures(ci.Result{Step: backend, Status: status, Err: errors.New("frontend/install did not pass\nmore")})
		assert.Empty(t, failures)
		assert.Equal(t, "frontend/install did not pass", summary)
	}
}

func TestAStepThatRanOutOfTimeSaysSoFirst(t *testing.T) {
	result := withReport(backend, ci.JUnit, fixture(t, "junit", "failures.xml"))
	result.Status, result.Err = ci.TimedOut, errors.New("run backend/unit: stopped after 5m0s; set components.backend.timeouts.unit")
	result.Log = []byte("collected 8 items\ntests/unit/test_extract.py F\n")
	failures, _ := Failures(result)
	require.Len(t, failures, 7)
	assert.Equal(t, "run backend/unit: stopped after 5m0s; set components.backend.timeouts.unit", failures[0].Title)
	assert.Contains(t, failures[0].Message, "last lines of the log:\ncollected 8 items")
	assert.Equal(t, "cd backend && python -m pytest --junitxml=junit.xml", failures[0].Reproduce)

	failures, summary := Failures(ci.Result{Step: backend, Status: ci.Broken, Err: errors.New("python is not on PATH")})
	require.Len(t, failures, 1)
	assert.Equal(t, "python is not on PATH", failures[0].Title)
	assert.Equal(t, "python is not on PATH", summary)
}

func TestPathsAreRelativeToTheApplication(t *testing.T) {
	for name, test := range map[string]struct {
		dir, evidence, in, want string
		inputs                  []string
	}{
		"already":                         {dir: "frontend", in: "src/a.ts", want: "frontend/src/a.ts"},
		"at the root":                     {dir: ".", in: "src/a.ts", want: "src/a.ts"},
		"out of the directory":            {dir: "a/b", in: "../../shared/x.py", want: "shared/x.py"},
		"by node_modules":                 {dir: "web", evidence: "at x (/srv/web/work/web/node_modules/jest/x.js:1:2)", in: "/srv/web/work/web/src/a.ts", want: "web/src/a.ts"},
		"by hoisted node_modules":         {dir: "packages/web", evidence: "(/w/node_modules/jest/x.js:1:2)", in: "/w/packages/web/a.ts", want: "packages/web/a.ts"},
		"by pytest's rootdir":             {dir: "", evidence: "platform linux\nrootdir: /w/x\n", in: "/w/x/tests/a.py", want: "tests/a.py"},
		"by the directory":                {dir: "web", in: "/copies/7/web/src/a.ts", want: "web/src/a.ts"},
		"by the inputs":                   {dir: "", in: "/copies/7/src/a.ts", inputs: []string{"package.json", "src/**"}, want: "src/a.ts"},
		"of a file URL":                   {dir: "web", in: "file:///copies/7/web/vite.config.ts", want: "web/vite.config.ts"},
		"of the machine":                  {dir: "web", in: "/usr/lib/python3/web/x.py", want: "/usr/lib/python3/web/x.py"},
		"of global node_modules":          {dir: "web", evidence: "(/usr/lib/node_modules/npm/x.js:1:2)", in: "/w/web/a.ts", want: "web/a.ts"},
		"of nowhere":                      {dir: "", in: "/elsewhere/a.ts", want: "/elsewhere/a.ts"},
		"that climb out of the workspace": {dir: "a", in: "../../../../etc/passwd", want: "etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := newTree(ci.Step{Dir: test.dir, Inputs: test.inputs}, test.evidence)
			assert.Equal(t, test.want, tree.relative(test.in))
		})
	}
}

func TestOnlyTheBeginningOfAPathIsTakenOut(t *testing.T) {
	tree := tree{dir: "web", root: "/src"}
	assert.Equal(t, "at f (web/src/a.ts:1:2)", tree.clean("at f (/src/web/src/a.ts:1:2)"))
	assert.Equal(t, "web/vite.config.ts, other/src/x and a.src/y", tree.clean("file:///src/web/vite.config.ts, other/src/x and a.src/y"))
}

func TestManyFailuresAreCutAndCounted(t *testing.T) {
	var log bytes.Buffer
	for i := range 400 {
		fmt.Fprintf(&log, "src/a.py:%d:1: E501 line too long\n", i+1)
	}
	failures, summary := Failures(withLog(backend, log.Bytes()))
	assert.Len(t, failures, 50)
	assert.Equal(t, "400 problems, first 50 shown", summary)
}

func TestHugeInputIsReadInAMoment(t *testing.T) {
	huge := map[string]ci.Result{
		"one line":       withLog(backend, bytes.Repeat([]byte("x(y:1:"), ci.MaxLog/6)),
		"brackets":       withLog(frontend, bytes.Repeat([]byte("[[[[((((\n"), ci.MaxLog/36)),
		"deep JSON":      withReport(frontend, ci.JestJSON, bytes.Repeat([]byte(`{"testResults":[`), 1<<16)),
		"deep XML":       withReport(backend, ci.JUnit, bytes.Repeat([]byte("<testsuite>"), 1<<16)),
		"too long":       withReport(backend, ci.JUnit, make([]byte, maxReportBytes+1)),
		"long messages":  withReport(backend, ci.JUnit, []byte(`<testsuite><testcase classname="a" name="`+strings.Repeat("n", 1<<20)+`"><failure message="`+strings.Repeat("m\n", 1<<20)+`"/></testcase></testsuite>`)),
		"many ● headers": withLog(frontend, bytes.Repeat([]byte("● a › b\n"), ci.MaxLog/36)),
	}
	for name, result := range huge {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			failures, _ := Failures(result)
			assert.Less(t, time.Since(begin), 10*time.Second)
			for _, f := range failures {
				assert.LessOrEqual(t, len(f.Title), 4*maxTitleRunes)
				assert.LessOrEqual(t, len(f.Message), maxMessageBytes)
			}
		})
	}
}

func TestFailuresAsPeopleReadThem(t *testing.T) {
	var b strings.Builder
	for _, r := range []ci.Result{
		withReport(frontend, ci.JestJSON, fixture(t, "jest", "failures.json")),
		withReport(backend, ci.JUnit, fixture(t, "junit", "failures.xml")),
		withReport(repository, ci.SARIF, fixture(t, "sarif", "gitleaks.sarif")),
		withLog(frontend, fixture(t, "logs", "eslint.log")),
		withLog(frontend, fixture(t, "logs", "vite.log")),
		withLog(backend, fixture(t, "logs", "ruff.log")),
		withLog(frontend, fixture(t, "logs", "npm-ci.log")),
	} {
		stage, failures := FromResult(r)
		fmt.Fprintf(&b, "# %s: %s\n", stage.Name, stage.Detail)
		s := screen{columns: 100, report: &Report{}}
		for i, f := range failures {
			s.line()
			s.failure(f, i == 0)
		}
		b.WriteString(s.String() + "\n")
	}
	golden(t, "failures.txt", b.String())
}
