package docker

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
)

func TestHostsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "/var/run/docker.sock",
		"unix:///run/user/1/d.sock":   "/run/user/1/d.sock",
		"ssh://deploy@shop.example":   "deploy@shop.example",
		"ssh://shop.example:2222/":    "shop.example",
		"ssh://deploy@[2001:db8::1]/": "deploy@2001:db8::1",
	} {
		h, err := parseHost(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, h.name)
	}
	for text, want := range map[string]string{
		"tcp://shop:2375":                      "Docker over TCP is root for whoever reaches the port",
		"docker.sock":                          "want unix:///path/to/docker.sock or ssh://user@host",
		"unix://docker.sock":                   "want unix:///path/to/docker.sock or ssh://user@host",
		"ssh://deploy:hunter2@shop":            "use a key or an agent",
		"ssh://":                               "it names no host",
		"ssh://-oProxyCommand=touch":           "cannot begin with a dash",
		"ssh://-oProxyCommand=x@shop":          "cannot begin with a dash",
		"ssh://shop/var/run/docker.sock":       "nothing may follow the host's name and port",
		"ssh://deploy:hunter2@shop:port":       "want unix:///path/to/docker.sock or ssh://user@host",
		"https://deploy:hunter2@shop.example/": "host https://deploy:xxxxx@shop.example/",
	} {
		_, err := parseHost(text)
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	assert.Equal(t, []string{"ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3",
		"-l", "deploy", "-p", "2222", "--", "2001:db8::1", "docker", "system", "dial-stdio"},
		(&ssh{user: "deploy", host: "2001:db8::1", port: "2222"}).args(nil, "docker", "system", "dial-stdio"))
}

// sshVariable makes this test binary the ssh program: what it says is what a server would do.
const sshVariable = "PIPELINE_DOCKER_TEST_SSH"

// runSSH does what ssh does with the command lines that connect makes, on this machine.
func runSSH(args []string) int {
	if said := os.Getenv(sshVariable); said != "yes" {
		fmt.Fprintln(os.Stderr, said)
		return 255
	}
	for i, arg := range args {
		switch arg {
		case "-W":
			connection, err := net.Dial("tcp", args[i+1])
			if err != nil {
				fmt.Fprintln(os.Stderr, "channel 0: open failed: connect failed: Connection refused")
				return 255
			}
			go func() { _, _ = io.Copy(connection, os.Stdin) }()
			_, _ = io.Copy(os.Stdout, connection)
			return 0
		case "-L":
			local, remote, _ := strings.Cut(args[i+1], ":")
			listener, err := net.Listen("unix", local)
			for err == nil {
				var near, far net.Conn
				if near, err = listener.Accept(); err == nil {
					if far, err = net.Dial("unix", remote); err == nil {
						go func() { _, _ = io.Copy(far, near); far.Close() }()
						go func() { _, _ = io.Copy(near, far); near.Close() }()
					}
				}
			}
			return 255
		case "--":
			command := exec.Command(args[i+2], args[i+3:]...)
			command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
			if command.Run() != nil {
				return 1
			}
			return 0
		}
	}
	return 255
}

// asSSH has the machine's ssh be this test binary.
func asSSH(t *testing.T, d *daemon, said string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Symlink(must(os.Executable()), filepath.Join(dir, "ssh")))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(sshVariable, said)
	t.Setenv("DOCKER_HOST", d.host())
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestAHostIsReachedOverSSH(t *testing.T) {
	d := docker(t)
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker program; scripts/docker-for-tests installs it")
	}
	asSSH(t, d, "yes")
	overSSH(t, d, "ssh://deploy@shop.example")
}

// overSSH runs a release through a target over SSH, and asks it through the same.
func overSSH(t *testing.T, d *daemon, host string) {
	t.Helper()
	o := options(d)
	o.Host = host
	target := open(t, o)
	require.NoError(t, target.Check(bounded(t)))
	u := app(t, target, "one", "") // with its image, some megabytes
	i := start(t, target, deploy.Blue, release("v1", u))
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: target.DialContext, DisableKeepAlives: true}}
	var answered string
	require.Eventually(t, func() bool {
		response, err := client.Get(i.Endpoints["api"].String())
		if err != nil {
			return false
		}
		defer response.Body.Close()
		data, _ := io.ReadAll(response.Body)
		answered = string(data)
		return answered != ""
	}, patience, 20*time.Millisecond)
	assert.Equal(t, "one", answered)
	require.NoError(t, target.Alive(bounded(t), deploy.Blue))

	socket, end, err := target.Forward(bounded(t), d.socket) // as one of the host's sockets
	require.NoError(t, err)
	assert.NotEqual(t, d.socket, socket)
	o.Host = "unix://" + socket
	through, err := New(o)
	require.NoError(t, err)
	defer through.Detach()
	require.NoError(t, through.Alive(bounded(t), deploy.Blue))
	require.NoError(t, end())
	require.ErrorIs(t, through.Alive(bounded(t), deploy.Blue), ErrUnreachable)
	assert.NoDirExists(t, filepath.Dir(socket))

	require.NoError(t, target.Stop(bounded(t), deploy.Blue))
	assert.Zero(t, d.count(t, target))
}

func TestWhatSSHSaysIsPassedOn(t *testing.T) {
	asSSH(t, &daemon{}, "deploy@shop.example: Permission denied (publickey).")
	target, err := New(Options{Host: "ssh://deploy@shop.example", Application: "shop", Environment: "test", Deployment: "d1"})
	require.NoError(t, err)
	defer target.Detach()
	err = target.Check(bounded(t))
	require.ErrorIs(t, err, ErrUnreachable)
	require.ErrorContains(t, err, "connection to deploy@shop.example: ssh ended with exit code 255: deploy@shop.example: Permission denied (publickey).")
	_, _, err = target.Forward(bounded(t), "/run/router.sock")
	require.EqualError(t, err, "forward /run/router.sock of deploy@shop.example: ssh ended with exit code 255: deploy@shop.example: Permission denied (publickey).")
}

func TestAConnectionEndsItsSSH(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	asSSH(t, &daemon{}, "yes")
	connection, err := (&ssh{host: "shop.example"}).dial(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, connection.SetDeadline(time.Now().Add(patience)))
	other, err := listener.Accept()
	require.NoError(t, err)
	defer other.Close()
	_, err = connection.Write([]byte("question"))
	require.NoError(t, err)
	data := make([]byte, 8)
	_, err = io.ReadFull(other, data)
	require.NoError(t, err)
	require.NoError(t, connection.Close())
	select {
	case <-connection.(*sshConn).process.Done():
	case <-time.After(patience):
		t.Fatal("ssh is still there")
	}
}

// With OpenSSH's own server, where the machine has one.
func TestAHostIsReachedOverARealSSHServer(t *testing.T) {
	d := docker(t)
	server := os.Getenv("PIPELINE_TEST_SSHD")
	if server == "" {
		server = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(server); err != nil {
		t.Skip("no OpenSSH server: set PIPELINE_TEST_SSHD or install openssh-server")
	}
	dir, err := os.MkdirTemp("", "sshd")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, name := range []string{"host", "user"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
		return path
	}
	userKey, err := os.ReadFile(filepath.Join(dir, "user.pub"))
	require.NoError(t, err)
	config := write("sshd_config", fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %s/host
AuthorizedKeysFile %s
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
SetEnv DOCKER_HOST=%s
`, port, dir, write("authorized_keys", string(userKey)), d.host()))
	command := exec.Command(server, "-D", "-e", "-f", config)
	log := &tail{most: mostLog}
	command.Stderr = log
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	hostKey, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	require.NoError(t, err)
	known := write("known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s", port, hostKey))
	// The user's ssh_config, without the user's home.
	real, err := exec.LookPath("ssh")
	require.NoError(t, err)
	write("ssh", fmt.Sprintf("#!/bin/sh\nexec %s -F %s \"$@\"\n", real,
		write("ssh_config", fmt.Sprintf("IdentityFile %s/user\nIdentitiesOnly yes\nUserKnownHostsFile %s\nStrictHostKeyChecking yes\n", dir, known))))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.text())
		}
	})
	overSSH(t, d, fmt.Sprintf("ssh://root@127.0.0.1:%d", port))
}
