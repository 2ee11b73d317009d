package migrations

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// pgbouncer puts a real PgBouncer before the server of a database and returns the database's URL through it.
func pgbouncer(t *testing.T, address, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("PgBouncer is not installed: apt-get install pgbouncer")
	}
	server, err := url.Parse(address)
	require.NoError(t, err)
	port, err := pgtest.FreePort()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `[databases]
* = host=%s port=%s user=postgres password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 5
ignore_startup_parameters = extra_float_digits
`, server.Hostname(), server.Port(), pgtest.Password, port, mode), 0o644))
	command := exec.Command(program, file)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if account, err := user.Lookup("postgres"); err == nil && os.Getuid() == 0 { // it refuses to be root
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	server.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", server.Host)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
	return server.String()
}

func TestPoolerThatSharesSessionsIsRefused(t *testing.T) {
	for _, mode := range []string{"transaction", "statement"} {
		t.Run(mode, func(t *testing.T) {
			address := pgtest.Database(t)
			pooled := pgbouncer(t, address, mode)
			for range 5 {
				_, err := migrator(t, pooled, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()")).Up(context.Background())
				require.ErrorIs(t, err, ErrPooled)
				if mode == "statement" {
					continue
				}
				require.ErrorContains(t, err, "the migration lock and its timeouts belong to a session, and the pooler gives each transaction another one; name the server itself, or a pool in session mode, for migrations")
			}
			assert.Equal(t, "none", pgtest.Value(t, address, "SELECT coalesce(to_regclass('schema_migrations')::text, 'none')"))
		})
	}
}

func TestPoolerThatKeepsSessionsIsFine(t *testing.T) {
	address := pgtest.Database(t)
	pooled := pgbouncer(t, address, "session")
	outcome, err := migrator(t, pooled, pgtest.Files("1_a.up.sql", "CREATE TABLE a ()")).Up(context.Background())
	require.NoError(t, err)
	assert.Len(t, outcome.Applied, 1)
}
