//go:build linux

package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parentVar makes this test binary a program that starts a tree through the package and waits, to be killed.
const parentVar = "PROCESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if script := os.Getenv(parentVar); script != "" {
		p, err := Start(context.Background(), Spec{Args: []string{"sh", "-c", script}, Stdout: os.Stdout, Stderr: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		_ = p.Wait()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tree is a shell script that starts a tree as npm does, and worse: a child in a session of its own with a child of its
// own, one that was orphaned, one that ignores SIGTERM. Each is a sleep with a length that names the test.
func tree(mark string) string {
	return strings.ReplaceAll(`
sleep MARK.1 &
setsid sh -c 'sleep MARK.2 & sleep MARK.3' &
(setsid sh -c 'sleep MARK.4 & trap "" TERM; sleep MARK.5; sleep MARK.6' &)
echo ready
sleep MARK.7
`, "MARK", mark)
}

// treeSize is how many sleeps of a tree run at once.
const treeSize = 6

// marked lists the processes whose command line holds the mark.
func marked(mark string) []string {
	var found []string
	for _, s := range stats() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.pid))
		if command := strings.ReplaceAll(string(line), "\x00", " "); err == nil && strings.HasPrefix(command, "sleep "+mark) {
			found = append(found, fmt.Sprintf("%d: %s", s.pid, command))
		}
	}
	return found
}

// mark is a number of seconds that no other test or process uses.
func mark() string { return fmt.Sprintf("4%d%d", os.Getpid(), time.Now().UnixNano()%1_000_000) }

func waitForTree(t *testing.T, mark string) {
	t.Helper()
	require.Eventually(t, func() bool { return len(marked(mark)) == treeSize }, patience, 5*time.Millisecond)
}

func assertGone(t *testing.T, mark string) {
	t.Helper()
	assert.Eventually(t, func() bool { return len(marked(mark)) == 0 }, patience, 5*time.Millisecond)
	assert.Empty(t, marked(mark))
}

// startParent starts this test binary as a parent of a tree.
func startParent(t *testing.T, mark string) *exec.Cmd {
	t.Helper()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVar+"="+tree(mark))
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	t.Cleanup(func() { _ = parent.Process.Kill(); _ = parent.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	waitForTree(t, mark)
	return parent
}

func TestParentKilledTakesTheWholeTreeWithIt(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
		t.Run(signal.String(), func(t *testing.T) {
			mark := mark()
			parent := startParent(t, mark)
			require.NoError(t, parent.Process.Signal(signal))
			assertGone(t, mark)
		})
	}
}

func TestGuardKilledTakesTheProgramAndItsSessionWithIt(t *testing.T) {
	length := mark()
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", "sleep " + length + ".1 & sleep " + length + ".2; true"}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(marked(length)) == 2 }, patience, 5*time.Millisecond)
	for _, s := range stats() {
		if s.pid == p.PID() {
			require.NoError(t, syscall.Kill(s.parent, syscall.SIGKILL))
		}
	}
	assert.ErrorContains(t, p.Wait(), "killed")
	assert.Equal(t, 137, p.ExitCode())
	assertGone(t, length)
}

func TestCanceledContextEndsTheTree(t *testing.T) {
	mark := mark()
	ctx, cancel := context.WithCancelCause(bounded(t))
	p, err := Start(ctx, Spec{Args: []string{"sh", "-c", tree(mark)}, Grace: 200 * time.Millisecond})
	require.NoError(t, err)
	waitForTree(t, mark)
	cancel(errors.New("stop"))
	assert.Error(t, p.Wait())
	assert.Empty(t, marked(mark), "when Wait returns nothing is left")
}

func TestNothingIsLeftOfAProgramThatEndsByItself(t *testing.T) {
	mark := mark()
	var out strings.Builder
	err := Run(bounded(t), Spec{Args: []string{"sh", "-c", strings.Replace(tree(mark), "sleep "+mark+".7", "exit 3", 1)}, Stdout: &out})
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.Code, "what is left behind does not change the exit code")
	assert.Empty(t, marked(mark))
}

func TestStopLetsTheProgramEndInItsOwnTime(t *testing.T) {
	out, in := io.Pipe()
	p, err := Start(bounded(t), Spec{
		Args:   []string{"sh", "-c", `trap 'sleep 0.1; echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done`},
		Stdout: in,
	})
	require.NoError(t, err)
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	said := make(chan string)
	go func() {
		line, _ := lines.ReadString('\n')
		said <- line
	}()
	require.NoError(t, p.Stop(bounded(t), patience))
	assert.Equal(t, "bye\n", <-said)
	assert.Equal(t, 5, p.ExitCode())
}

func TestStopSendsTheSignalOnceToAServerBehindAShell(t *testing.T) {
	// The inner shell says what it gets; the outer one, as sh does, ends at once and passes nothing on.
	inner := `trap "echo got" TERM; echo ready; n=0; while [ $n -lt 50 ]; do sleep 0.01; n=$((n+1)); done; echo end`
	out, in := io.Pipe()
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", "sh -c '" + inner + "'; true"}, Stdout: in})
	require.NoError(t, err)
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	rest := make(chan string)
	go func() {
		data, _ := io.ReadAll(lines)
		rest <- string(data)
	}()
	require.NoError(t, p.Stop(bounded(t), patience))
	in.Close()
	assert.Equal(t, "got\nend\n", <-rest)
}

func TestStopKillsWhatIgnoresTheSignalAfterTheGrace(t *testing.T) {
	length := mark()
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", `trap "" TERM; sleep ` + length + `.1; sleep ` + length + `.2`}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(marked(length)) == 1 }, patience, 5*time.Millisecond)
	grace := 300 * time.Millisecond
	began := time.Now()
	require.NoError(t, p.Stop(bounded(t), grace))
	assert.GreaterOrEqual(t, time.Since(began), grace)
	assert.Equal(t, 137, p.ExitCode())
	assert.Empty(t, marked(length))
}

func TestStopEndsWhatForksAllTheTime(t *testing.T) {
	length := mark()
	storm := `trap "" TERM; while :; do setsid sh -c "sleep ` + length + `.1 & exec sleep ` + length + `.2" & sleep 0.005; done`
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", storm}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(marked(length)) > 20 }, patience, 5*time.Millisecond)
	require.NoError(t, p.Stop(bounded(t), 50*time.Millisecond))
	assert.Empty(t, marked(length))
}

func TestStopReturnsWithItsContextAndTheTreeIsKilled(t *testing.T) {
	length := mark()
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", `trap "" TERM; sleep ` + length + `.1; sleep ` + length + `.2`}})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(marked(length)) == 1 }, patience, 5*time.Millisecond)
	ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, p.Stop(ctx, time.Hour), context.DeadlineExceeded)
	<-p.Done()
	assertGone(t, length)
}

func TestStopOfAProgramThatHasEndedDoesNothing(t *testing.T) {
	p, err := Start(bounded(t), Spec{Args: []string{"true"}})
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	assert.NoError(t, p.Stop(bounded(t), time.Hour))
	assert.Zero(t, p.ExitCode())
}

func TestGuardShowsNoSecret(t *testing.T) {
	p, err := Start(bounded(t), Spec{Args: []string{"sleep", "60"}, Env: append(os.Environ(), "TOKEN=hunter2")})
	require.NoError(t, err)
	defer p.Stop(context.Background(), 0)
	require.Eventually(t, func() bool { // the kernel shows it a moment after exec
		child, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID()))
		return err == nil && strings.Contains(string(child), "hunter2")
	}, patience, time.Millisecond)
	for _, s := range stats() {
		if s.pid == p.PID() {
			for _, file := range []string{"environ", "cmdline"} {
				data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.parent, file))
				require.NoError(t, err)
				assert.NotContains(t, string(data), "hunter2")
			}
		}
	}
}

func TestProgramRunsAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as another user")
	}
	var out strings.Builder
	err := Run(bounded(t), Spec{Args: []string{"sh", "-c", "id -u; id -g"}, Dir: "/", Credential: &Credential{UID: 65534, GID: 65534}, Stdout: &out})
	require.NoError(t, err)
	assert.Equal(t, "65534\n65534\n", out.String())
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if err := Run(context.Background(), Spec{Args: []string{"true"}}); err != nil {
			b.Fatal(err)
		}
	}
}
