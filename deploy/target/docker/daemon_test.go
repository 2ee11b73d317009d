package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/process"
)

const patience = 60 * time.Second

// daemon is a Docker of the tests' own: nothing of it is where the machine's Docker, if there is one, has its own things,
// and nothing of it is left afterwards.
type daemon struct {
	dir, socket, bridge, cgroup, pool string
	env                               []string
	process                           *process.Process
	log                               *tail
}

// shared is the daemon of all tests but those that end one.
var shared struct {
	once   sync.Once
	daemon *daemon
	err    error
}

// errNoDocker says why Docker cannot run on this machine.
var errNoDocker = errors.New("no Docker for the tests")

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ssh" {
		os.Exit(runSSH(os.Args[1:]))
	}
	if socket := os.Getenv(childSocket); socket != "" {
		os.Exit(runChild(socket))
	}
	code := m.Run()
	if shared.daemon != nil {
		if err := shared.daemon.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	for _, dir := range built {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// docker is the shared daemon; without one the test is skipped.
func docker(t *testing.T) *daemon {
	t.Helper()
	shared.once.Do(func() { shared.daemon, shared.err = startDaemon(1) })
	skipWithout(t, shared.err)
	return shared.daemon
}

func skipWithout(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, errNoDocker) {
		t.Skip(err)
	}
	require.NoError(t, err)
}

// startDaemon starts a daemon with a number, 1 to 200, of its own.
func startDaemon(number int) (_ *daemon, err error) {
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("%w: dockerd needs root", errNoDocker)
	}
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	env := append(os.Environ(), "PATH="+path)
	for _, program := range []string{"dockerd", "docker-proxy", "ip"} {
		if _, err := process.LookPath(program, "/", env); err != nil {
			return nil, fmt.Errorf("%w: %s is missing; scripts/docker-for-tests installs it", errNoDocker, program)
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		return nil, fmt.Errorf("%w: no control groups: %w", errNoDocker, err)
	}
	dir, err := os.MkdirTemp("", "dkr") // short: a socket's path may have some 100 bytes
	if err != nil {
		return nil, err
	}
	d := &daemon{
		dir: dir, socket: filepath.Join(dir, "s"), log: &tail{most: mostLog},
		env: env, pool: fmt.Sprintf("10.%d.0.0/16", 150+number%50),
		bridge: fmt.Sprintf("pt%dn%d", os.Getpid(), number), cgroup: fmt.Sprintf("/pipeline-test-%d-%d", os.Getpid(), number),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	subnet := fmt.Sprintf("10.%d.%d", 200+number%50, os.Getpid()%250)
	for _, args := range [][]string{
		{"link", "add", d.bridge, "type", "bridge"}, {"addr", "add", subnet + ".1/24", "dev", d.bridge}, {"link", "set", d.bridge, "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: no network bridge: %w: %s", errNoDocker, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	return d, d.start()
}

// start starts the daemon, again where it was ended, and waits until it answers.
func (d *daemon) start() error {
	var err error
	d.process, err = process.Start(context.Background(), process.Spec{
		Args: []string{
			"dockerd", "--host", "unix://" + d.socket, "--config-file", filepath.Join(d.dir, "daemon.json"),
			"--data-root", filepath.Join(d.dir, "data"), "--exec-root", filepath.Join(d.dir, "exec"), "--pidfile", filepath.Join(d.dir, "pid"),
			"--bridge", d.bridge, "--iptables=false", "--ip-masq=false", "--ip-forward=false",
			"--default-address-pool", "base=" + d.pool + ",size=24",
			"--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", d.cgroup, "--log-level", "warn",
		},
		Env: d.env, Stdout: d.log, Stderr: d.log, Grace: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
	}}}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(patience); ; {
		if answer, err := client.Get("http://docker/_ping"); err == nil {
			answer.Body.Close()
			return nil
		}
		select {
		case <-d.process.Done():
			return fmt.Errorf("%w: dockerd does not start: %w: %s", errNoDocker, d.process.Wait(), d.log.text())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("dockerd does not answer: %s", d.log.text())
		}
	}
}

// stop ends the daemon with all that runs in it, and removes what it made.
func (d *daemon) stop() error {
	var errs []error
	if d.process != nil {
		errs = append(errs, d.process.Stop(context.Background(), 20*time.Second))
	}
	// What a daemon that was killed has left mounted, the innermost first.
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		lines := strings.Split(string(mounts), "\n")
		for i := len(lines) - 1; i >= 0; i-- {
			if fields := strings.Fields(lines[i]); len(fields) > 4 && strings.HasPrefix(fields[4], d.dir+"/") {
				_ = syscall.Unmount(fields[4], syscall.MNT_DETACH)
			}
		}
	}
	_ = exec.Command("ip", "link", "delete", d.bridge).Run()
	for _, pattern := range []string{"/sys/fs/cgroup" + d.cgroup, "/sys/fs/cgroup/*" + d.cgroup} {
		found, _ := filepath.Glob(pattern)
		for _, group := range found {
			groups, _ := filepath.Glob(filepath.Join(group, "*"))
			for _, g := range append(groups, group) {
				if info, err := os.Stat(g); err == nil && info.IsDir() {
					_ = os.Remove(g) // a group without processes
				}
			}
		}
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

func (d *daemon) host() string { return "unix://" + d.socket }

// answer is what an address answers, "" for none.
func answer(url string) string {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	data, _ := io.ReadAll(response.Body)
	return string(data)
}
