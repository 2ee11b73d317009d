//go:build linux

package process

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// quick is a backoff that tests can wait for.
var quick = Backoff{First: 10 * time.Millisecond, Max: 80 * time.Millisecond, Reset: time.Hour}

func keep(t *testing.T, script string, keeping Keeping) *Kept {
	t.Helper()
	k, err := Keep(bounded(t), Spec{Args: []string{"sh", "-c", script}}, keeping)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, k.Stop(context.Background(), 0)) })
	return k
}

func TestAProgramThatEndsIsStartedAgainAfterEverLongerWaits(t *testing.T) {
	at := filepath.Join(t.TempDir(), "at")
	k := keep(t, "date +%s%N >> "+at+"; exit 3", Keeping{Backoff: quick})
	require.Eventually(t, func() bool { return k.Status().Ends >= 6 }, patience, 5*time.Millisecond)
	require.NoError(t, k.Stop(bounded(t), 0))
	s := k.Status()
	assert.Zero(t, s.PID)
	var exit *ExitError
	require.ErrorAs(t, s.Last, &exit)
	assert.Equal(t, 3, exit.Code)

	data, err := os.ReadFile(at)
	require.NoError(t, err)
	var starts []time.Time
	for _, line := range strings.Fields(string(data)) {
		starts = append(starts, time.Unix(0, number([]byte(line))))
	}
	for i, least := range []int{10, 20, 40, 80, 80} {
		assert.GreaterOrEqual(t, starts[i+1].Sub(starts[i]), time.Duration(least)*time.Millisecond, "wait %d", i+1)
	}
}

func TestALongRunMakesTheWaitShortAgain(t *testing.T) {
	k := keep(t, "exit 0", Keeping{Backoff: Backoff{First: time.Millisecond, Max: time.Hour, Reset: time.Nanosecond}})
	require.Eventually(t, func() bool { return k.Status().Ends > 25 }, patience, 5*time.Millisecond, "2^25 ms would be nine hours")
	assert.NoError(t, k.Status().Last)
}

func TestAProgramThatCannotBeStartedAgainIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	script := []byte("#!/bin/sh\necho up\nexit 1\n")
	require.NoError(t, os.WriteFile(path, script, 0o700))
	k, err := Keep(bounded(t), Spec{Args: []string{path}}, Keeping{Backoff: quick})
	require.NoError(t, err)
	defer k.Stop(bounded(t), 0)
	require.NoError(t, os.Remove(path))
	require.Eventually(t, func() bool { s := k.Status(); return s.Last != nil && strings.Contains(s.Last.Error(), "no such file") }, patience, time.Millisecond)
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700))
	require.Eventually(t, func() bool { return k.Status().PID != 0 }, patience, time.Millisecond)
}

func TestTheFirstStartMustWork(t *testing.T) {
	_, err := Keep(bounded(t), Spec{Args: []string{"no-such-program"}}, Keeping{})
	require.ErrorContains(t, err, "no-such-program")
}

func TestAKeptProgramIsStoppedForGood(t *testing.T) {
	for name, wait := range map[string]func(*Kept) bool{
		"while it runs":    func(k *Kept) bool { return k.Status().PID != 0 },
		"while it waits":   func(k *Kept) bool { return k.Status().PID == 0 },
		"whatever it does": func(*Kept) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			length := mark()
			script := "sleep " + length + ".1"
			if name != "while it runs" {
				script = "exit 1"
			}
			k := keep(t, script, Keeping{Backoff: Backoff{First: time.Hour, Max: time.Hour, Reset: time.Hour}})
			require.Eventually(t, func() bool { return wait(k) }, patience, time.Millisecond)
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() { assert.NoError(t, k.Stop(bounded(t), time.Second)) })
			}
			both.Wait()
			<-k.Done()
			assert.Empty(t, marked(length))
			assert.Zero(t, k.Status().PID)
		})
	}
}

func TestAProgramOverItsMemoryIsKilledAndStartedAgain(t *testing.T) {
	// The memory is in a child of the program, as workers are.
	k := keep(t, `python3 -c "import time; x = b'x' * (100 << 20); time.sleep(600)"; exit 0`, Keeping{Backoff: quick, Memory: 40 << 20})
	require.Eventually(t, func() bool { return k.Status().Ends > 0 }, patience, 5*time.Millisecond)
	require.ErrorContains(t, k.Status().Last, "MiB of memory and may use 40 MiB")
}

func TestUsageIsOfTheWholeTree(t *testing.T) {
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", `setsid python3 -c "import time; x = b'x' * (50 << 20); time.sleep(600)" & n=0; while :; do n=$((n+1)); done`}})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		u, err := p.Usage()
		return err == nil && u.Processes == 2 && u.Resident > 50<<20 && u.Proportional > 50<<20 && u.CPU >= 50*time.Millisecond
	}, patience, 5*time.Millisecond)
	u, err := p.Usage()
	require.NoError(t, err)
	assert.Less(t, u.Resident, int64(200<<20))
	assert.LessOrEqual(t, u.Proportional, u.Resident)
	require.NoError(t, p.Stop(bounded(t), 0))
	u, err = p.Usage()
	require.NoError(t, err)
	assert.Zero(t, u)
}

func TestALockIsHeldUntilTheLastProcessIsGoneAndNotByTheProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(held.Fd()), syscall.LOCK_EX))
	free := func() bool {
		other, err := os.Open(path)
		require.NoError(t, err)
		defer other.Close()
		return syscall.Flock(int(other.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	}
	length := mark()
	p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", `ls -l /proc/self/fd > ` + path + `; sleep ` + length + `.1`}, Hold: held})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(marked(length)) == 1 }, patience, time.Millisecond)
	// This process closes it, as if it had been killed.
	require.NoError(t, held.Close())
	assert.False(t, free())
	fds, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.NotContains(t, string(fds), " 5 -> ", "the program does not have it")
	require.NoError(t, p.Stop(bounded(t), 0))
	assert.True(t, free())
}

func TestAWorkerThatIsQuietFinishesItsJobAndIsWokenAgain(t *testing.T) {
	dir := t.TempDir()
	// It ends when its job is done: when there is a file of that name.
	k := keep(t, `echo up >> `+dir+`/starts; trap 'while [ ! -e `+dir+`/done ]; do sleep .01; done; echo finished >> `+dir+`/ends; exit 1' TERM; while :; do sleep .01; done`, Keeping{Backoff: quick})
	lines := func(name string) int {
		data, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.Count(string(data), "\n")
	}
	require.Eventually(t, func() bool { return lines("starts") == 1 }, patience, time.Millisecond)
	first := k.Status().PID
	k.Quiet()
	k.Quiet()
	assert.True(t, k.Status().Resting)
	assert.Equal(t, first, k.Status().PID, "it is at its job")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "done"), nil, 0o600))
	require.Eventually(t, func() bool { return k.Status().PID == 0 }, patience, time.Millisecond)
	assert.Equal(t, 1, lines("ends"))

	k.Wake()
	k.Wake()
	require.Eventually(t, func() bool { return lines("starts") == 2 }, patience, time.Millisecond)
	s := k.Status()
	assert.False(t, s.Resting)
	assert.Zero(t, s.Ends, "an end that was asked for is none")
	assert.NoError(t, s.Last)

	require.NoError(t, os.Remove(filepath.Join(dir, "done")))
	k.Quiet()
	require.NoError(t, k.Stop(bounded(t), 50*time.Millisecond), "a stop does not wait for the job")
	assert.Equal(t, 1, lines("ends"))
}
