package main

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tiny is the smallest application there is: one Node server without dependencies.
func tiny() map[string]string {
	return map[string]string{
		"package.json":      `{"name":"tiny","version":"1.0.0","private":true,"scripts":{"test":"node --test"}}`,
		"package-lock.json": `{"name":"tiny","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"tiny","version":"1.0.0"}}}`,
		"server.js": `const server = require("node:http").createServer((q, s) => s.end("hello from " + process.env.RELEASE));
server.listen(process.env.PORT, process.env.HOST);
process.on("SIGTERM", () => server.close());
`,
		"tiny.test.js": `require("node:test")("nothing is wrong", () => {});`,
		"pipeline.yaml": `version: 1
name: tiny
components:
  app:
    path: .
    runtimes: [node]
    serve: {command: [node, server.js], health: /, version: /, start: 5s}
checks: {secrets: false}
rehearsal: {phase: 500ms}
`,
	}
}

// with is the tiny application with files replaced; an empty text takes the file away.
func with(changes map[string]string) map[string]string {
	files := tiny()
	maps.Copy(files, changes)
	maps.DeleteFunc(files, func(_, text string) bool { return text == "" })
	return files
}

func configured(text string) map[string]string { return with(map[string]string{"pipeline.yaml": text}) }

const head = "version: 1\nname: tiny\nchecks: {secrets: false}\ncomponents:\n"

// rehearseTiny rehearses an application against itself.
func rehearseTiny(t *testing.T, files map[string]string, args ...string) outcome {
	t.Helper()
	dir := write(t, files)
	return pipeline(t, dir, append([]string{"rehearse", ".", "--runner", "host", "--report", filepath.Join(t.TempDir(), "report")}, args...)...)
}

func TestTheTinyApplicationIsProven(t *testing.T) {
	got := rehearseTiny(t, tiny())
	assert.Equal(t, 0, got.code, got.out)
}

func TestWrongConfigurationEndsWithCode2AndSaysWhere(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		says  string
	}{
		"no file":              {with(map[string]string{"pipeline.yaml": ""}), `pipeline init`},
		"unknown key":          {configured(head + "  app: {path: ., runtimes: [node], srve: {}}\n"), `pipeline.yaml:5:36: components.app.srve: unknown key; did you mean "serve"`},
		"wrong type":           {configured(head + "  app: {path: ., runtimes: node}\n"), `pipeline.yaml:5:28: components.app.runtimes: `},
		"unparsable":           {configured("version: 1\nname: [tiny\n"), "pipeline.yaml:"},
		"missing directory":    {configured(head + "  app: {path: elsewhere, runtimes: [node]}\n"), "elsewhere"},
		"no lock file":         {with(map[string]string{"package-lock.json": ""}), "package-lock.json"},
		"two with one port":    {configured(head + "  app: {path: ., runtimes: [node], serve: {command: [node, a.js], port: 9000}}\n  b: {path: ., runtimes: [node], serve: {command: [node, b.js], port: 9000, routes: [/b]}}\n"), "9000"},
		"unknown strategy":     {configured(head + "  app: {path: ., runtimes: [node]}\nenvironments: {p: {branches: [main], strategy: canary}}\n"), "canary"},
		"a token in the clear": {configured(head + "  app: {path: ., runtimes: [node]}\nnotify: {slack: {channel: C1, token: hunter2hunter2}}\n"), "notify.slack.token"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := rehearseTiny(t, test.files)
			assert.Equal(t, 2, got.code, got.out)
			assert.Contains(t, got.out, test.says)
			assert.NotContains(t, got.out, "hunter2")
		})
	}
}

func TestWrongUsageEndsWithCode2(t *testing.T) {
	tests := map[string]struct {
		args []string
		says string
	}{
		"no such directory": {[]string{"rehearse", "nowhere"}, "nowhere: no such directory"},
		"no such ref":       {[]string{"rehearse", ".", "--from", "v9", "--runner", "host"}, `"v9"`},
		"no such runner":    {[]string{"rehearse", ".", "--runner", "cloud"}, "must be auto, host or engine"},
		"no such flag":      {[]string{"rehearse", "--fast"}, "unknown flag"},
		"no such output":    {[]string{"validate", "--output", "xml"}, "must be text or json"},
		"no such overlay":   {[]string{"rehearse", ".", "--overlay", "nowhere"}, "nowhere"},
	}
	dir := write(t, tiny())
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := pipeline(t, dir, test.args...)
			assert.Equal(t, 2, got.code, got.out)
			assert.Contains(t, got.out, test.says)
		})
	}
}

func TestAnApplicationThatDoesNotWorkIsRefused(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		says  string
	}{
		"exits at start":     {with(map[string]string{"server.js": `console.error("no licence file"); process.exit(4)`}), "no licence file"},
		"exits with code 0":  {with(map[string]string{"server.js": "// does nothing"}), "exit code 0"},
		"health path is 404": {with(map[string]string{"server.js": `require("node:http").createServer((q, s) => { s.statusCode = 404; s.end() }).listen(process.env.PORT)`}), "answered 404"},
		"never listens":      {with(map[string]string{"server.js": `setInterval(() => {}, 1000)`}), "connection refused"},
		"wrong version":      {with(map[string]string{"server.js": `require("node:http").createServer((q, s) => s.end("v0")).listen(process.env.PORT)`}), "v0"},
		"a test fails":       {with(map[string]string{"tiny.test.js": `require("node:test")("adds up", () => { throw new Error("one is not two") })`}), "one is not two"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := rehearseTiny(t, test.files)
			assert.Equal(t, 1, got.code, got.out)
			assert.Contains(t, got.firstScreen(), test.says)
		})
	}
}

func TestATestCommandThatHangsIsStopped(t *testing.T) {
	files := with(map[string]string{"tiny.test.js": `require("node:test")("waits", () => new Promise(() => setInterval(() => {}, 1000)))`})
	files["pipeline.yaml"] += "\n"
	files["pipeline.yaml"] = replaceOnce(t, files["pipeline.yaml"], "    runtimes: [node]\n", "    runtimes: [node]\n    timeouts: {unit: 3s}\n")
	got := rehearseTiny(t, files)
	assert.Equal(t, 1, got.code, got.out)
	assert.Contains(t, got.firstScreen(), "3s")
}

func TestAFixedPortThatIsInUseIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	files := tiny()
	files["pipeline.yaml"] = replaceOnce(t, files["pipeline.yaml"], "health: /,", "health: /, port: "+port+",")
	got := rehearseTiny(t, files)
	assert.NotZero(t, got.code, got.out)
	assert.Contains(t, got.firstScreen(), port)
}

func TestAFullDiskEndsWithCode3(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts a small file system")
	}
	small := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("this machine does not let us mount a small file system: %s", out)
	}
	t.Cleanup(func() { assert.NoError(t, exec.Command("umount", small).Run()) })
	files := tiny()
	files["big.txt"] = string(make([]byte, 1<<20))
	got := rehearseTiny(t, files, "--cache-dir", filepath.Join(small, "cache"))
	assert.Equal(t, 3, got.code, got.out)
	assert.Contains(t, got.out, "no space left on device")
}

func TestAnInterruptEndsEverythingInTime(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		t.Run(signal.String(), func(t *testing.T) {
			files := tiny()
			files["pipeline.yaml"] = replaceOnce(t, files["pipeline.yaml"], "phase: 500ms", "phase: 1m")
			files["pipeline.yaml"] += "services: {postgres: {}, redis: {}}\n"
			dir := write(t, files)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "rehearse", ".", "--runner", "host", "--report", filepath.Join(t.TempDir(), "report"))
			cmd.Dir, cmd.Env = dir, append(os.Environ(), asPipeline+"=1")
			seen := &watched{until: "traffic: started", found: make(chan struct{})}
			cmd.Stdout, cmd.Stderr = seen, seen
			require.NoError(t, cmd.Start())
			select {
			case <-seen.found:
			case <-time.After(2 * time.Minute):
				t.Error("the traffic never started")
			}
			require.NoError(t, cmd.Process.Signal(signal))
			_ = cmd.Wait()
			assert.NotZero(t, cmd.ProcessState.ExitCode())
			assert.Eventually(t, func() bool { return len(orphans(t)) == 0 }, 20*time.Second, 50*time.Millisecond, "processes left: %v", orphans(t))
			if signal == os.Interrupt {
				assert.Equal(t, 3, cmd.ProcessState.ExitCode())
				assert.Contains(t, seen.String(), "interrupted")
			}
		})
	}
}
