package migrations

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// password is of the test server. No error may hold it.
const password = "correct-horse%battery"

// serverVariable names a PostgreSQL to test with, as a superuser's URL; without it one is started.
const serverVariable = "PIPELINE_TEST_POSTGRES_URL"

// cluster is the server that all tests of the process share, started by the first that asks.
var cluster struct {
	once sync.Once
	url  string
	err  error
	stop func()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if cluster.stop != nil {
		cluster.stop()
	}
	os.Exit(code)
}

// serverURL is the test server. A test that needs one and has none fails: a skipped test proves nothing.
func serverURL(t testing.TB) string {
	t.Helper()
	cluster.once.Do(func() {
		if cluster.url = os.Getenv(serverVariable); cluster.url == "" {
			cluster.err = startCluster()
		}
	})
	if cluster.err != nil {
		t.Fatalf("these tests need PostgreSQL: apt-get install postgresql, or set %s to a superuser's URL: %v", serverVariable, cluster.err)
	}
	return cluster.url
}

// newDatabase makes an empty database for one test.
func newDatabase(t testing.TB) string {
	t.Helper()
	server := serverURL(t)
	name := "test_" + strings.ToLower(rand.Text())
	execute(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	address, err := onDatabase(server, name)
	require.NoError(t, err)
	return address
}

// session is a connection that ends with the test.
func session(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t testing.TB, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), sql, simply)
	require.NoError(t, err)
}

// simply sends several statements at once.
const simply = pgx.QueryExecModeSimpleProtocol

// value is the one value a query answers, as text.
func value(t testing.TB, address, query string) string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var v *string
	require.NoError(t, conn.QueryRow(context.Background(), "SELECT ("+query+")::text", simply).Scan(&v))
	if v == nil {
		return "NULL"
	}
	return *v
}

// eventually waits for a query to answer true, on a session of its own.
func eventually(t testing.TB, address, query string) {
	t.Helper()
	conn := session(t, address)
	deadline := time.Now().Add(time.Minute)
	for ; ; time.Sleep(5 * time.Millisecond) {
		var yes bool
		require.NoError(t, conn.QueryRow(context.Background(), "SELECT "+query).Scan(&yes))
		if yes {
			return
		}
		require.True(t, time.Now().Before(deadline), "not within a minute: %s", query)
	}
}

// named is the URL for a session that others know by a name.
func named(address, name string) string {
	if strings.Contains(address, "?") {
		return address + "&application_name=" + name
	}
	return address + "?application_name=" + name
}

// files is a folder "m" of migrations.
func files(pairs ...string) fstest.MapFS {
	folder := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		folder["m/"+pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return folder
}

// migrator is one for a test, quick to lose patience.
func migrator(t testing.TB, address string, folder fstest.MapFS, change ...func(*Options)) *Migrator {
	t.Helper()
	o := Options{URL: address, FS: folder, Dir: "m", LockTimeout: 100 * time.Millisecond, RetryBudget: 30 * time.Second, LockWait: 30 * time.Second}
	for _, c := range change {
		c(&o)
	}
	m, err := New(o)
	require.NoError(t, err)
	return m
}

// startCluster makes a cluster that is quick and forgets: no fsync. It dies with this process, however that ends.
func startCluster() error {
	bin, err := newestBinaries()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "pipeline-pg-")
	if err != nil {
		return err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	cluster.stop = remove
	identity, err := unprivileged(dir)
	if err != nil {
		return err
	}
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(password), 0o644); err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres",
		"-A", "password", // quick; with SCRAM the tests would spend their time on connecting
		"--pwfile", secret, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: identity}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-F",
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200",
		"-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "log_min_messages=panic")
	server.Dir = dir
	server.SysProcAttr = &syscall.SysProcAttr{Credential: identity, Pdeathsig: syscall.SIGQUIT}
	ended, err := startPinned(server)
	if err != nil {
		return err
	}
	cluster.stop = func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once; the data is thrown away
		<-ended
		remove()
	}
	cluster.url = (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}).String()
	return waitForCluster(ended)
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

func waitForCluster(ended <-chan struct{}) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := pgx.Connect(context.Background(), cluster.url)
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-ended:
			return errors.New("postgres ended at once")
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// newestBinaries is the folder of the newest PostgreSQL that Debian installs, or that of the one on the PATH.
func newestBinaries() (string, error) {
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

// unprivileged is whom the server runs as: PostgreSQL refuses to be root.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
