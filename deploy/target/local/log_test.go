package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/redact"
)

func TestALogIsBoundedAndKeepsTheNewest(t *testing.T) {
	const limit = 10_000
	path := filepath.Join(t.TempDir(), "api.log")
	for run := range 3 { // a log that was there counts
		l, err := OpenLog(path, limit, redact.Of())
		require.NoError(t, err)
		for n := range 1000 {
			fmt.Fprintf(l, "line %d of run %d\n", n, run)
			for _, name := range []string{path, path + ".1"} {
				if info, err := os.Stat(name); err == nil {
					require.LessOrEqual(t, info.Size(), int64(limit), name)
				}
			}
		}
		require.NoError(t, l.Close())
	}
	old, err := os.ReadFile(path + ".1")
	require.NoError(t, err)
	young, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimRight(string(old)+string(young), "\n"), "\n")
	for i, line := range lines {
		require.Equal(t, fmt.Sprintf("line %d of run 2", 1000-len(lines)+i), line, "none is missing")
	}
	assert.Greater(t, len(lines), limit/30)
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

func TestAFullDiskMakesAGapInTheLogAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.log")
	require.NoError(t, os.Symlink("/dev/full", path)) // every write fails with ENOSPC
	l, err := OpenLog(path, 1000, redact.Of())
	require.NoError(t, err)
	for range 3 {
		n, err := l.Write([]byte("lost\n"))
		require.NoError(t, err)
		require.Equal(t, 5, n)
	}
	assert.Equal(t, "(the log file has a gap here: write "+path+": no space left on device)\nlost\nlost\nlost\n", l.Tail())

	require.NoError(t, os.Remove(path)) // there is space again
	l.retry = time.Now()
	_, err = l.Write([]byte("kept\n"))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "(15 bytes are missing here: they could not be written)\nkept\n", string(data))
}

func TestAFullDiskDoesNotStopAUnit(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("/dev/full", filepath.Join(dir, "blue-api.log")))
	target := open(t, Options{Dir: dir, Keep: true})
	_, err := target.Start(t.Context(), deploy.Blue, deploy.Release{Version: "v1", Units: []deploy.Unit{shell("seq 100000; echo done; sleep 600")}})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		logs, err := target.Logs(t.Context(), deploy.Blue)
		return err == nil && strings.HasSuffix(logs["api"], "\n100000\ndone\n")
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, target.Alive(t.Context(), deploy.Blue))
	status := target.Status(deploy.Blue)
	require.Len(t, status, 1)
	assert.Zero(t, status[0].Ends)
	assert.NotZero(t, status[0].PID)
}
