package local

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/targettest"
	"github.com/metaextract/pipeline/internal/redact"
)

func artifact(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o755))
	}
	return dir
}

func TestTarget(t *testing.T) {
	targettest.Run(t, targettest.Suite{
		New: func(t *testing.T) deploy.Target {
			target, err := New(Options{Dir: t.TempDir(), Env: []string{"PATH=" + os.Getenv("PATH")}})
			require.NoError(t, err)
			return target
		},
		Artifact: artifact,
	})
}

func open(t *testing.T, options Options) *Target {
	t.Helper()
	if options.Env == nil {
		options.Env = []string{"PATH=" + os.Getenv("PATH")}
	}
	target, err := New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, target.Close(context.Background())) })
	return target
}

func shell(script string) deploy.Unit {
	return deploy.Unit{Component: "api", Command: []string{"sh", "-c", script}, Stop: time.Second}
}

// output is what the unit had written when it ended.
func output(t *testing.T, target *Target, slot deploy.Slot) string {
	t.Helper()
	require.Eventually(t, func() bool { return target.Alive(t.Context(), slot) != nil }, 20*time.Second, 5*time.Millisecond)
	logs, err := target.Logs(t.Context(), slot)
	require.NoError(t, err)
	return logs["api"]
}

func TestProgramsOfTheApplicationComeFirst(t *testing.T) {
	target := open(t, Options{})
	unit := shell("")
	unit.Artifact, unit.Dir, unit.Command = artifact(t, map[string]string{
		"web/node_modules/.bin/serve": "#!/bin/sh\necho node", "web/.venv/bin/python3": "#!/bin/sh\necho venv; serve",
	}), "web", []string{"python3"}
	_, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Version: "v1", Units: []deploy.Unit{unit}})
	require.NoError(t, err)
	assert.Equal(t, "venv\nnode\n", output(t, target, deploy.Blue))
}

func TestAFixedPortThatIsTakenIsNamed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	target := open(t, Options{})
	files := deploy.Unit{Component: "page", Artifact: artifact(t, map[string]string{"index.html": ""}), Static: "."}
	for _, unit := range []deploy.Unit{shell("sleep 60"), files} {
		unit.Port = port
		_, err = target.Start(t.Context(), deploy.Green, deploy.Release{Version: "v1", Units: []deploy.Unit{unit}})
		require.ErrorContains(t, err, fmt.Sprintf("component %s of release v1 in slot green: port %d is in use: serve.port is fixed, and neither two slots nor two components can share it; let the command listen on $PORT", unit.Component, port))
	}
}

func TestAFixedPortIsTheOneThatTheUnitGets(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	target := open(t, Options{})
	unit := shell("echo $PORT $0")
	unit.Command = append(unit.Command, "$PORT")
	unit.Port = port
	i, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Units: []deploy.Unit{unit}})
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("http://127.0.0.1:%d", port), i.Endpoints["api"].String())
	assert.Equal(t, fmt.Sprintf("%d %d\n", port, port), output(t, target, deploy.Blue))
}

func TestUnitsThatCannotBeStartedSayWhatToDo(t *testing.T) {
	target := open(t, Options{})
	for text, unit := range map[string]deploy.Unit{
		"keep one of serve.command and serve.static":           {Command: []string{"true"}, Static: "dist"},
		"set serve.command or serve.static":                    {},
		"install it in the artifact or correct serve.command":  {Command: []string{"no-such-program"}},
		"does the build make them there? correct serve.static": {Artifact: t.TempDir(), Static: "dist"},
		"index.html: no such file or directory; a page needs":  {Artifact: t.TempDir(), Static: "."},
		"no such file or directory":                            {Artifact: filepath.Join(t.TempDir(), "none"), Command: []string{"true"}},
	} {
		_, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Units: []deploy.Unit{unit}})
		require.ErrorContains(t, err, text)
	}
}

func TestNoSecretReachesLogsOrErrors(t *testing.T) {
	const secret, key = `hunter2 "x"/&`, "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"
	dir := t.TempDir()
	target := open(t, Options{Dir: dir, Redact: []string{secret, key}})
	unit := shell(`printf 'a %s b' "$SECRET"; echo; echo "$KEY"; printf 'hunter2'; sleep .2; printf ' "x"/&\n'; echo '{"a": "hunter2 \"x\"/&"}'; exit 4`)
	unit.Env = map[string]string{"SECRET": secret, "KEY": key}
	_, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Units: []deploy.Unit{unit}})
	require.NoError(t, err)
	log := output(t, target, deploy.Blue)
	file, err := os.ReadFile(filepath.Join(dir, "blue-api.log"))
	require.NoError(t, err)
	for _, text := range []string{log, string(file), target.Alive(t.Context(), deploy.Blue).Error()} {
		for _, s := range []string{"hunter2", "MIIEvQ"} {
			assert.NotContains(t, text, s)
		}
		assert.Contains(t, text, "a *** b")
	}
	info, err := os.Stat(filepath.Join(dir, "blue-api.log"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// However the output is cut into writes and lines, no secret passes.
func TestASecretIsNotSplitPastTheRedactor(t *testing.T) {
	const longLine = 16 << 10
	const secret = "correct-horse-battery"
	law := func(before uint16, cuts []uint8) bool {
		l := newLog(nil, redact.Of(secret))
		data := bytes.Repeat([]byte("x"), int(before)%(2*longLine))
		data = append(append(data, secret...), bytes.Repeat([]byte("y"), longLine)...)
		for _, cut := range cuts {
			n := min(int(cut), len(data))
			_, _ = l.Write(data[:n])
			data = data[n:]
		}
		_, _ = l.Write(data)
		_ = l.Close()
		tail := strings.ReplaceAll(l.Tail(), "\n", "")
		return !strings.Contains(tail, secret) && !strings.Contains(tail, secret[:12]) && strings.Contains(tail, redact.Mask)
	}
	require.NoError(t, quick.Check(law, nil))
}

func TestTheTailIsBounded(t *testing.T) {
	l := newLog(nil, redact.Of())
	for n := range 20_000 {
		fmt.Fprintf(l, "line %d\n", n)
	}
	tail := l.Tail()
	assert.LessOrEqual(t, len(tail), maxTail)
	assert.True(t, strings.HasPrefix(tail, "line "), "whole lines")
	assert.True(t, strings.HasSuffix(tail, "line 19999\n"))
	assert.LessOrEqual(t, len(l.tail), 2*maxTail)
}

func TestTheUsersHomeIsNotWrittenTo(t *testing.T) {
	dir := t.TempDir()
	target := open(t, Options{Dir: dir})
	_, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Units: []deploy.Unit{shell("cd && pwd")}})
	require.NoError(t, err)
	assert.Contains(t, output(t, target, deploy.Blue), filepath.Base(dir)+"/blue-api.home")
}

func TestACanceledStopKillsAndSaysSo(t *testing.T) {
	target := open(t, Options{})
	unit := shell("trap '' TERM; echo up; while :; do sleep .05; done")
	unit.Stop = time.Hour
	_, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Units: []deploy.Unit{unit}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { l, _ := target.Logs(t.Context(), deploy.Blue); return l["api"] == "up\n" }, 20*time.Second, 5*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, target.Stop(ctx, deploy.Blue), context.DeadlineExceeded)
	_, err = target.Start(t.Context(), deploy.Blue, deploy.Release{Units: []deploy.Unit{shell("true")}})
	require.NoError(t, err, "nothing is left")
}

func TestAnEmptySlotIsNotAlive(t *testing.T) {
	require.ErrorContains(t, open(t, Options{}).Alive(t.Context(), deploy.Blue), "slot blue runs nothing")
}

func TestOnlyHostAndPortAreReplaced(t *testing.T) {
	assert.Equal(t, []string{"127.0.0.1:80", "x=80", "$PORTS", "$HOSTNAME", "${PATH}", "$$"},
		expand([]string{"$HOST:$PORT", "x=${PORT}", "$PORTS", "$HOSTNAME", "${PATH}", "$$"}, 80))
}
