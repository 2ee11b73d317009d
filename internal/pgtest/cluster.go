package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// binariesVariable names the directory of the PostgreSQL programs to test with.
const binariesVariable = "PIPELINE_TEST_POSTGRES_BIN"

// Cluster is a PostgreSQL server of a test.
type Cluster struct {
	URL  string // of database postgres, as the superuser
	Dir  string // its data directory
	Port int

	program  string // postgres
	identity *syscall.Credential
	args     []string
	process  *os.Process
	ended    <-chan struct{}
	remove   func()
}

// defaults make a server that is quick and forgets: no fsync.
var defaults = map[string]string{
	"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200", "fsync": "off",
	"synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off", "log_min_messages": "panic",
	"wal_level": "replica", "timezone": "UTC", "shared_preload_libraries": "pg_stat_statements",
}

// Start starts a cluster for one test. Settings win over those that make it quick.
func Start(t testing.TB, settings map[string]string) *Cluster {
	t.Helper()
	c, err := start(settings)
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	return c
}

// start makes a cluster. It dies with this process, however that ends.
func start(settings map[string]string) (_ *Cluster, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pipeline-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: filepath.Join(dir, "data"), remove: func() { _ = os.RemoveAll(dir) }}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	identity, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o644); err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", c.Dir, "-U", "postgres",
		"-A", "password", // quick; with SCRAM the tests would spend their time on connecting
		"--pwfile", secret, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: identity}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if c.Port, err = FreePort(); err != nil {
		return nil, err
	}
	all := maps.Clone(defaults)
	maps.Copy(all, settings)
	c.program, c.identity = filepath.Join(bin, "postgres"), identity
	c.args = []string{"-D", c.Dir, "-p", strconv.Itoa(c.Port)}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c.args = append(c.args, "-c", name+"="+all[name])
	}
	c.URL = (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", Password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}).String()
	return c, c.Launch()
}

// Launch starts the server on the data that is there, also again after a crash, and returns when it answers.
func (c *Cluster) Launch() error {
	log, err := os.OpenFile(filepath.Join(filepath.Dir(c.Dir), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	server := exec.Command(c.program, c.args...)
	server.Dir = filepath.Dir(c.Dir)
	server.SysProcAttr = &syscall.SysProcAttr{Credential: c.identity, Pdeathsig: syscall.SIGQUIT}
	server.Stdout, server.Stderr = log, log
	if c.ended, err = startPinned(server); err != nil {
		return err
	}
	c.process = server.Process
	if err := c.wait(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("start postgres: %w: %s", err, said)
	}
	return nil
}

// Crash ends the server as pg_ctl stop -m immediate does: nothing is written down that was not yet, so that Launch begins
// with crash recovery. What it promises survives only with synchronous_commit.
func (c *Cluster) Crash() {
	if c.process != nil {
		_ = c.process.Signal(syscall.SIGQUIT)
		<-c.ended
		c.process = nil
	}
}

// Stop ends the server at once; its data is thrown away.
func (c *Cluster) Stop() {
	c.Crash()
	c.remove()
}

func (c *Cluster) wait() error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := pgx.Connect(context.Background(), c.URL)
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-c.ended:
			return errors.New("it ended at once")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// startPinned starts a process from a thread that lives as long as the process: Pdeathsig is about the thread.
func startPinned(c *exec.Cmd) (<-chan struct{}, error) {
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait()
		}
		close(ended)
	}()
	return ended, <-started
}

// Binary is the path of a program of the PostgreSQL that is tested with. A server that came without its client programs is
// tested with those of the PATH, where they are of its version or newer: pg_dump refuses a newer server, so a test that
// needs it is skipped there, and says so.
func Binary(t testing.TB, program string) string {
	t.Helper()
	bin, err := binaries()
	require.NoError(t, err)
	path := filepath.Join(bin, program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	server, err := majorOf(filepath.Join(bin, "postgres"))
	require.NoError(t, err)
	path, err = exec.LookPath(program)
	if err != nil {
		t.Skipf("needs %s of PostgreSQL %d or newer: the server in %s came without it, and the PATH has none", program, server, bin)
	}
	client, err := majorOf(path)
	require.NoError(t, err)
	if client < server {
		t.Skipf("needs %s of PostgreSQL %d or newer: the server in %s came without it, and %s is of %d", program, server, bin, path, client)
	}
	return path
}

// majorOf is the major version that a program of PostgreSQL says it has.
func majorOf(path string) (int, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	return strconv.Atoi(version[:max(digits, 0)])
}

// binaries is the folder that the environment names, or that of the newest PostgreSQL that Debian installs, or that of the
// one on the PATH.
func binaries() (string, error) {
	if dir := os.Getenv(binariesVariable); dir != "" {
		return dir, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		version := func(p string) int {
			v, _ := strconv.Atoi(strings.Split(p, "/")[4])
			return v
		}
		return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
	}
	path, err := exec.LookPath("initdb")
	return filepath.Dir(path), err
}

// unprivileged is whom the server runs as, for PostgreSQL refuses to be root: postgres, where a package has made it.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

// FreePort is a port of 127.0.0.1 that nobody listened on a moment ago.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
