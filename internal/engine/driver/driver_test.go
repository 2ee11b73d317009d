package driver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/redact"
)

// ran runs a step by the script, on this machine, and reads what it left.
func ran(t *testing.T, step ci.Step) (Outcome, string) {
	t.Helper()
	home := t.TempDir()
	script, dir, out := filepath.Join(home, "step"), filepath.Join(home, "src"), filepath.Join(home, "out")
	require.NoError(t, os.WriteFile(script, []byte(Script), 0o755))
	arguments, err := Arguments(step, "")
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), "sh", append([]string{script, "--dir", dir}, arguments[1:]...)...)
	command.Env = append(os.Environ(), "PIPELINE_OUT="+out)
	printed, _ := command.CombinedOutput()
	outcome, err := Read(os.DirFS(out), step, func(b []byte) []byte { return b })
	require.NoError(t, err, "%s", printed)
	return outcome, string(printed)
}

func sh(script string) [][]string { return [][]string{{"sh", "-c", script}} }

func TestTheScriptSaysHowAStepEnded(t *testing.T) {
	for name, c := range map[string]struct {
		step ci.Step
		want Outcome
	}{
		"passed": {ci.Step{Run: [][]string{{"echo", "it's", "$HOME", "a  b"}, {"echo", "two"}}},
			Outcome{Status: ci.Passed, Log: []byte("it's $HOME a  b\ntwo\n")}},
		"both streams are one log": {ci.Step{Run: sh("echo one; echo two >&2; echo three")},
			Outcome{Status: ci.Passed, Log: []byte("one\ntwo\nthree\n")}},
		"the first that fails ends it": {ci.Step{Run: [][]string{{"true"}, {"sh", "-c", "exit 7"}, {"echo", "never"}}},
			Outcome{Status: ci.Failed, Command: []string{"sh", "-c", "exit 7"}, Code: 7, Log: []byte{}}},
		"a program is missing": {ci.Step{Run: [][]string{{"no-such-program"}}},
			Outcome{Status: ci.Broken, Command: []string{"no-such-program"}, Log: []byte{}}},
		"out of time": {ci.Step{Run: sh("echo begun; sleep 60"), Timeout: 2 * time.Second},
			Outcome{Status: ci.TimedOut, Command: []string{"sh", "-c", "echo begun; sleep 60"}, Log: []byte("begun\n")}},
		"an exit code of 124 is not a timeout": {ci.Step{Run: sh("exit 124")},
			Outcome{Status: ci.Failed, Command: []string{"sh", "-c", "exit 124"}, Code: 124, Log: []byte{}}},
		"nothing to run": {ci.Step{}, Outcome{Status: ci.Passed, Log: []byte{}}},
		"an output is missing": {ci.Step{Run: sh("mkdir other"), Outputs: []ci.Output{{Name: "bundle", Path: "dist"}}},
			Outcome{Status: ci.Failed, Missing: "dist", Log: []byte{}}},
		"reports are kept by their number": {
			ci.Step{Run: sh("echo 2 >b.xml; exit 1"), Reports: []ci.Report{{Format: ci.JUnit, Path: "a.xml"}, {Format: ci.JUnit, Path: "b.xml"}}},
			Outcome{Status: ci.Failed, Command: sh("echo 2 >b.xml; exit 1")[0], Code: 1, Log: []byte{},
				Reports: []ci.ReportFile{{Report: ci.Report{Format: ci.JUnit, Path: "b.xml"}, Data: []byte("2\n")}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			got, printed := ran(t, c.step)
			assert.WithinRange(t, got.Began, before, time.Now())
			got.Began = time.Time{}
			assert.Equal(t, c.want, got)
			assert.Equal(t, string(c.want.Log), printed, "who watches sees the log")
		})
	}
}

func TestALongLogKeepsItsEnds(t *testing.T) {
	got, _ := ran(t, ci.Step{Run: sh(`echo begin; head -c 9000000 /dev/zero | tr '\0' x; echo; echo end`)})
	assert.LessOrEqual(t, len(got.Log), ci.MaxLog)
	head, tail, found := bytes.Cut(got.Log, fmt.Appendf(nil, "\n… %d bytes of the log were cut here …\n", 9_000_011-logHead-logTail))
	assert.True(t, found, "it says how much is missing")
	assert.True(t, bytes.HasPrefix(head, []byte("begin\nxxx")))
	assert.True(t, bytes.HasSuffix(tail, []byte("xxx\nend\n")))
}

func TestSecretsAreTakenOutBeforeALogIsCut(t *testing.T) {
	r := redact.Of("hunter22")
	files := fstest.MapFS{"began": {Data: []byte("1")}, "status": {Data: []byte("passed")},
		"log": {Data: []byte("password hunter22, base64 aHVudGVyMjI=, query a=hunter22\n")}}
	got, err := Read(files, ci.Step{}, r.Bytes)
	require.NoError(t, err)
	assert.Equal(t, "password ***, base64 ***, query a=***\n", string(got.Log))
}

func TestWhatNoScriptHasLeftIsAnError(t *testing.T) {
	began := &fstest.MapFile{Data: []byte("1")}
	for want, files := range map[string]fstest.MapFS{
		"did not begin":             {},
		"did not end":               {"began": began},
		"no status":                 {"began": began, "status": {}},
		`"dancing"`:                 {"began": began, "status": {Data: []byte("dancing 0")}},
		"for command 1":             {"began": began, "status": {Data: []byte("failed 1 1")}},
		"log: file does not exist":  {"began": began, "status": {Data: []byte("failed 0 1")}},
		`invalid syntax`:            {"began": {Data: []byte("yesterday")}},
		"head: file does not exist": {"began": began, "status": {Data: []byte("passed")}},
	} {
		_, err := Read(files, ci.Step{Run: sh("true")}, func(b []byte) []byte { return b })
		assert.ErrorContains(t, err, strings.TrimPrefix(want, "log: "), want)
	}
}

func TestArguments(t *testing.T) {
	step := ci.Step{
		Dir: "web", Timeout: 1500 * time.Millisecond, Run: [][]string{{"npm", "run", "lint"}, {"sh", "-c", "echo 'a'"}},
		Reports: []ci.Report{{Path: ".pipeline-unit.json"}}, Outputs: []ci.Output{{Path: "dist"}},
	}
	got, err := Arguments(step, "7")
	require.NoError(t, err)
	assert.Equal(t, []string{Program, "--limit", "2", "--dir", "/src/web", "--report", ".pipeline-unit.json", "--output", "dist",
		"--attempt", "7", "--", "npm run lint", `sh -c 'echo '\''a'\'''`}, got)
	_, err = Arguments(ci.Step{Outputs: []ci.Output{{Path: "my dist"}}}, "")
	assert.ErrorContains(t, err, `"my dist"`)
	_, err = Arguments(ci.Step{Run: [][]string{{}}}, "")
	assert.ErrorContains(t, err, "empty")
}

func FuzzLine(f *testing.F) {
	for _, word := range []string{"", "plain", "it's", `a "b" $c`, "new\nline", "-n", "*", "{a,b}", "`id`", `\`} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.ContainsRune(word, 0) {
			t.Skip("no argument has one")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "sh", "-c", "printf %s "+Line([]string{"x" + word})).Output()
		require.NoError(t, err)
		assert.Equal(t, "x"+word, string(out), "the shell reads back what was quoted")
	})
}

func TestExcludes(t *testing.T) {
	for inputs, want := range map[string]string{
		"web/**":                   "** !web/**",
		"** !**/node_modules/** a": "** !** **/node_modules/** !a",
		"a.{js,ts}":                "** !a.js !a.ts",
		"{a,b}/{c,d{e,f}}":         "** !a/c !a/de !a/df !b/c !b/de !b/df",
		"!x/[!a]{1,2}":             "** x/[^a]1 x/[^a]2",
		`open{ \{a,b\} closed}`:    `** !open{ !\{a,b\} !closed}`,
		"nothing{}":                "** !nothing",
	} {
		assert.Equal(t, strings.Fields(want), Excludes(strings.Fields(inputs)), inputs)
	}
}

func TestAlternativesMatchWhatTheBracesDo(t *testing.T) {
	paths := []string{"a.js", "a.ts", "a.go", "b/c", "b/d", "b/de", "b/df"}
	for _, pattern := range []string{"a.{js,ts}", "b/{c,d{e,f}}", "{a,b}{.js,/c}", "*.{go}", "{b/{c,d},a.*}"} {
		for _, path := range paths {
			direct, err := doublestar.Match(pattern, path)
			require.NoError(t, err)
			written := false
			for _, p := range alternatives(pattern) {
				match, err := doublestar.Match(p, path)
				require.NoError(t, err)
				written = written || match
			}
			assert.Equal(t, direct, written, fmt.Sprintf("%s on %s", pattern, path))
		}
	}
}
