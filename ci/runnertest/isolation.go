package runnertest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci"
)

// isolation is about what a step sees and what it can change.
var isolation = map[string]func(*testing.T, NewRunner){
	"only inputs are visible": func(t *testing.T, newRunner NewRunner) {
		files := map[string]string{"a/x.ts": "", "a/x.test.ts": "", "a/deep/er/y.ts": "", "b/z.ts": "", "root.json": "", ".hidden": "", "a/node_modules/m/i.ts": ""}
		step := shell("list", "find . ! -type d | sort", "a/**", "!a/**/*.test.ts", "!**/node_modules/**", "*.json", "!nothing")
		result := run(t, newRunner(t, files), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "./a/deep/er/y.ts\n./a/x.ts\n./root.json\n", string(result.Log))
	},
	"the last pattern that matches decides": func(t *testing.T, newRunner NewRunner) {
		files := map[string]string{"dist/keep.txt": "", "dist/drop.txt": "", "src.txt": ""}
		result := run(t, newRunner(t, files), shell("list", "find . -type f | sort", "**", "!dist/**", "dist/keep.txt"))[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "./dist/keep.txt\n./src.txt\n", string(result.Log))
	},
	"inputs keep executables and links": func(t *testing.T, newRunner NewRunner) {
		files := map[string]string{"run.sh": "#!/bin/sh\necho ran\n", "link": "-> run.sh", "plain": "text"}
		result := run(t, newRunner(t, files), shell("use", "./run.sh; ./link; readlink link; test ! -x plain", "**"))[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "ran\nran\nrun.sh\n", string(result.Log))
	},
	"the source is not written": func(t *testing.T, newRunner NewRunner) {
		runner := newRunner(t, map[string]string{"file": "original\n"})
		first := shell("write", "echo changed >file; touch new; rm -f gone", "**")
		requireStatus(t, ci.Passed, run(t, runner, first)[0])
		result := run(t, runner, shell("read", "cat *", "**"))[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "original\n", string(result.Log))
	},
	"the working directory is the step's": func(t *testing.T, newRunner NewRunner) {
		step := shell("where", "pwd; cat here", "**")
		step.Dir = "web/app"
		result := run(t, newRunner(t, map[string]string{"web/app/here": "found\n"}), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, SourceRoot+"/web/app\nfound\n", string(result.Log))
	},
	"a program may be a path within the working directory": func(t *testing.T, newRunner NewRunner) {
		step := shell("tool", "", "**")
		step.Dir, step.Run = "sub", [][]string{{"bin/tool", "an argument", "$HOME"}}
		result := run(t, newRunner(t, map[string]string{"sub/bin/tool": "#!/bin/sh\necho \"$1,$2\"\n"}), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "an argument,$HOME\n", string(result.Log), "there is no shell")
	},
	"the environment is the step's own": func(t *testing.T, newRunner NewRunner) {
		t.Setenv("RUNNERTEST_OUTER", "leaked")
		step := shell("env", `echo "$CI,$OWN,$RUNNERTEST_OUTER"; test -w "$HOME" && test -n "$PATH"`)
		step.Env["OWN"] = "a=b c"
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "true,a=b c,\n", string(result.Log))
	},
	"nobody types": func(t *testing.T, newRunner NewRunner) {
		result := run(t, newRunner(t, nil), shell("ask", "cat; echo end"))[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "end\n", string(result.Log))
	},
	"a cache is kept between steps": func(t *testing.T, newRunner NewRunner) {
		runner := newRunner(t, nil)
		name := salt()["SALT"]
		cache := []ci.Cache{{Key: "runnertest", Env: "TOOL_CACHE"}}
		first, second := shell("fill", `echo kept >"$TOOL_CACHE/`+name+`"`), shell("use", `cat "$TOOL_CACHE/`+name+`"; rm "$TOOL_CACHE/`+name+`"`)
		first.Caches, second.Caches = cache, cache
		requireStatus(t, ci.Passed, run(t, runner, first)[0])
		result := run(t, runner, second)[0]
		requireStatus(t, ci.Passed, result)
		assert.Equal(t, "kept\n", string(result.Log))
	},
	"a secret is in no log and no report": func(t *testing.T, newRunner NewRunner) {
		secret := "s3cr3t-" + salt()["SALT"]
		t.Setenv("RUNNERTEST_SECRET", secret)
		half := len(secret) / 2
		step := shell("leak", `echo "whole $TOKEN"; printf 'split %s' "`+secret[:half]+`"; sleep 0.3; echo "`+secret[half:]+`"; echo "<x>$TOKEN</x>" >out.xml; exit 1`)
		// The halves above stand for a program that writes the value in two pieces; the script itself is no secret.
		step.Secrets = []ci.SecretRef{{Env: "TOKEN", URI: "env://RUNNERTEST_SECRET"}}
		step.Reports = []ci.Report{{Format: ci.JUnit, Path: "out.xml"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Failed, result)
		assert.NotContains(t, string(result.Log), secret)
		assert.Equal(t, 2, strings.Count(string(result.Log), "***"), string(result.Log))
		if assert.Len(t, result.Reports, 1) {
			assert.NotContains(t, string(result.Reports[0].Data), secret)
		}
	},
	"a step's own directories come first on its path": func(t *testing.T, newRunner NewRunner) {
		make := shell("make", `mkdir tools; for p in hello env; do printf '#!/bin/sh\necho own %s\n' $p >tools/$p; chmod +x tools/$p; done`)
		use := shell("use", "hello; env")
		use.After, use.Path = &make, []string{"tools"}
		results := run(t, newRunner(t, nil), make, use)
		requireStatus(t, ci.Passed, results[1])
		assert.Contains(t, string(results[1].Log), "own hello\nown env\n")
	},
	"a secret has its value": func(t *testing.T, newRunner NewRunner) {
		t.Setenv("RUNNERTEST_SECRET", "correct horse")
		step := shell("use", `test "$TOKEN" = "correct horse"`)
		step.Secrets = []ci.SecretRef{{Env: "TOKEN", URI: "env://RUNNERTEST_SECRET"}}
		requireStatus(t, ci.Passed, run(t, newRunner(t, nil), step)[0])
	},
	"a secret that cannot be read breaks its step": func(t *testing.T, newRunner NewRunner) {
		step := shell("use", "true")
		step.Secrets = []ci.SecretRef{{Env: "TOKEN", URI: "env://RUNNERTEST_NOT_SET"}}
		result := run(t, newRunner(t, nil), step)[0]
		requireStatus(t, ci.Broken, result)
		assert.ErrorContains(t, result.Err, "RUNNERTEST_NOT_SET")
	},
}
