//go:build linux

package host

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// born is a process told apart from a later one with the same number.
type born struct {
	pid     int
	started string
	command string
}

// family lists everything below a process.
func family(t *testing.T, of int) []born {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	children := map[int][]born{}
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if parent, b, ok := look(pid); ok {
			children[parent] = append(children[parent], b)
		}
	}
	all := append([]born(nil), children[of]...)
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

// look reads a process. One that has ended and only waits for its parent to notice counts as gone.
func look(pid int) (parent int, b born, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, born{}, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	parent, _ = strconv.Atoi(fields[1])
	return parent, born{pid, fields[19], strings.ReplaceAll(string(command), "\x00", " ")}, fields[0] != "Z"
}

func alive(family []born) (left []string) {
	for _, b := range family {
		if _, now, ok := look(b.pid); ok && now.started == b.started {
			left = append(left, fmt.Sprintf("%d %s", b.pid, b.command))
		}
	}
	return left
}

// startPipeline starts a pipeline of its own and waits for the given lines of its log.
func startPipeline(t *testing.T, cache string, lines ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), pipelineVar+"="+cache)
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil
	}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	found := make(chan error, 1)
	go func() {
		waiting := len(lines)
		for scan := bufio.NewScanner(out); waiting > 0 && scan.Scan(); {
			for _, line := range lines {
				if scan.Text() == line {
					waiting--
				}
			}
		}
		if waiting > 0 {
			found <- fmt.Errorf("it ended before it said %q", lines)
		}
		close(found)
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case err := <-found:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatalf("it did not say %q", lines)
	}
	return cmd
}

// Nothing that a pipeline started outlives it: no server, no command, nothing they started, however it ends.
func TestNothingOutlivesAKilledPipeline(t *testing.T) {
	for _, test := range []struct {
		name   string
		signal syscall.Signal
	}{{"SIGKILL", syscall.SIGKILL}, {"Ctrl-C", syscall.SIGINT}, {"SIGTERM", syscall.SIGTERM}, {"hang-up", syscall.SIGHUP}} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TMPDIR", shortTemp(t))
			cache := filepath.Join(t.TempDir(), "cache")
			cmd := startPipeline(t, cache, "install | installing", "integration | serving")
			var before []born
			require.Eventually(t, func() bool {
				before = family(t, cmd.Process.Pid)
				return complete(before)
			}, patience, 10*time.Millisecond, "the tree has grown")

			require.NoError(t, cmd.Process.Signal(test.signal))
			_ = cmd.Wait()
			assert.Eventually(t, func() bool { return len(alive(before)) == 0 }, patience/2, 10*time.Millisecond)
			assert.Empty(t, alive(before))
			assert.Empty(t, mentioning(t, cache), "nor anything that was started meanwhile")

			r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
			scratch, err := filepath.Glob(filepath.Join(os.TempDir(), scratchPrefix+"*"))
			require.NoError(t, err)
			assert.Equal(t, []string{r.scratch.dir}, scratch, "the next run removes what the killed one left")
		})
	}
}

// complete says whether everything that the steps of the pipeline start is there.
func complete(family []born) bool {
	want := map[string]int{"node": 4, "redis-server": 1, "sleep": 2, "postgres": 1, "pipeline-guard": 4}
	for _, b := range family {
		program, _, _ := strings.Cut(b.command, " ")
		want[filepath.Base(program)]--
	}
	for _, missing := range want {
		if missing > 0 {
			return false
		}
	}
	return true
}

// mentioning lists the processes whose command line or environment (HOME is in the cache) holds a text.
func mentioning(t *testing.T, text string) (found []string) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, dir := range dirs {
		for _, file := range []string{"cmdline", "environ"} {
			if data, _ := os.ReadFile(filepath.Join(dir, file)); bytes.Contains(data, []byte(text)) {
				found = append(found, dir+" "+string(data))
			}
		}
	}
	return found
}

// shortTemp is a temporary directory that user postgres can reach, of this test alone.
func shortTemp(t *testing.T) string {
	dir, err := os.MkdirTemp("", "ht")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { removeTree(dir) })
	return dir
}

func TestARunKilledInTheMiddleOfALayerDoesNotHarmTheNext(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t))
	cache := filepath.Join(t.TempDir(), "cache")
	cmd := startPipeline(t, cache, "install | installing")
	half, err := filepath.Glob(filepath.Join(cache, "layers/*/tree/half"))
	require.NoError(t, err)
	require.Len(t, half, 1)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	t.Setenv("GO", "")
	install := filling
	install.Env = map[string]string{"GO": "/"}
	r := newRunner(t, Options{Source: t.TempDir(), CacheDir: cache})
	results := runSteps(t, r, install, afterStep(install, stepOf("unit", "cat half whole")))
	requirePassed(t, results...)
	assert.False(t, results[0].Cached)
	assert.Equal(t, "half\nwhole\n", string(results[1].Log))
	require.NoError(t, r.Close())
	left, err := filepath.Glob(filepath.Join(cache, "layers/*"))
	require.NoError(t, err)
	assert.Len(t, left, 1, "the half layer is gone")
}
