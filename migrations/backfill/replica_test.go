package backfill

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// replica starts a standby of a cluster and returns its URL.
func replica(t *testing.T, primary *pgtest.Cluster) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pipeline-replica-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	process := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		account, err := user.Lookup("postgres")
		require.NoError(t, err)
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		process.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		require.NoError(t, os.Chown(dir, uid, gid))
	}
	data := filepath.Join(dir, "data")
	backup := exec.Command(pgtest.Binary(t, "pg_basebackup"), "-d", primary.URL, "-D", data, "-R", "-c", "fast", "--no-sync")
	backup.Dir, backup.SysProcAttr = dir, process
	out, err := backup.CombinedOutput()
	require.NoError(t, err, "%s", out)
	port, err := pgtest.FreePort()
	require.NoError(t, err)
	standby := exec.Command(pgtest.Binary(t, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200")
	standby.Dir, standby.SysProcAttr = dir, process
	require.NoError(t, standby.Start())
	t.Cleanup(func() {
		_ = standby.Process.Signal(syscall.SIGQUIT)
		_ = standby.Wait()
	})
	u, err := url.Parse(primary.URL)
	require.NoError(t, err)
	u.Host = "127.0.0.1:" + strconv.Itoa(port)
	return u.String()
}

func TestReplicaWhoseReplayStandsStillIsWaitedFor(t *testing.T) {
	primary := pgtest.Start(t, nil)
	standby := replica(t, primary)
	pgtest.Eventually(t, primary.URL, "EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')")
	pgtest.Exec(t, primary.URL, "CREATE TABLE t (k int PRIMARY KEY, n int NOT NULL DEFAULT 0); INSERT INTO t SELECT generate_series(1, 200)")
	pgtest.Exec(t, standby, "SELECT pg_wal_replay_pause()")
	o := options(t, primary.URL, strings.Replace(count, "batch 3", "batch 1 pause 100ms", 1))
	o.MaxLag = 500 * time.Millisecond
	var seen []string
	o.Observe = func(p Progress) {
		if strings.Contains(p.Throttled, "behind") {
			if len(seen) == 0 {
				pgtest.Exec(t, standby, "SELECT pg_wal_replay_resume()")
			}
			seen = append(seen, p.Throttled)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := Run(ctx, connect(t, primary.URL), o)
	require.NoError(t, err)
	require.NotEmpty(t, seen)
	assert.Regexp(t, `^replica walreceiver is \S+s behind$`, seen[0])
	assert.Equal(t, int64(200), p.Done)
}
