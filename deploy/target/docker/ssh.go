package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/metaextract/pipeline/internal/process"
)

// ssh reaches a host by the machine's own ssh program. It knows what the user's ssh knows: ~/.ssh/config, the agent,
// known_hosts, jump hosts, certificates and hardware keys. A library (golang.org/x/crypto/ssh) would need each of them
// again. The price is one process a connection; connections are kept and used again.
type ssh struct{ user, host, port string }

const (
	// mostSaid is how much of what ssh says is kept for errors, in bytes.
	mostSaid = 4 << 10
	// sayPatience bounds the wait for the reason when a connection has ended.
	sayPatience = 2 * time.Second
)

func parseSSH(u *url.URL) (*ssh, error) {
	s := &ssh{user: u.User.Username(), host: u.Hostname(), port: u.Port()}
	_, password := u.User.Password()
	switch {
	case password:
		return nil, errors.New("host ssh://: a password would stand in configuration files; use a key or an agent")
	case s.host == "":
		return nil, errors.New("host ssh://: it names no host")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("host %s: nothing may follow the host's name and port", u.Redacted())
	case strings.HasPrefix(s.host, "-") || strings.HasPrefix(s.user, "-"): // ssh would take it for an option
		return nil, fmt.Errorf("host %s: a name cannot begin with a dash", u.Redacted())
	}
	return s, nil
}

func (s *ssh) name() string {
	if s.user == "" {
		return s.host
	}
	return s.user + "@" + s.host
}

// docker connects to the daemon by `docker system dial-stdio` on the host, which is what Docker's own client does: it
// finds the daemon by the host's configuration and needs no right but the user's to use Docker.
func (s *ssh) docker(ctx context.Context) (net.Conn, error) {
	return s.connect(ctx, nil, "docker", "system", "dial-stdio")
}

// dial connects to an address as the host sees it.
func (s *ssh) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return s.connect(ctx, []string{"-W", address})
}

// args is ssh's command line. It never asks: there may be nobody to answer.
func (s *ssh) args(options []string, command ...string) []string {
	args := []string{"ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=" + strconv.Itoa(int(connectPatience.Seconds())),
		"-o", "ServerAliveInterval=" + strconv.Itoa(int(keepAlive.Seconds())), "-o", "ServerAliveCountMax=3"}
	if s.user != "" {
		args = append(args, "-l", s.user)
	}
	if s.port != "" {
		args = append(args, "-p", s.port)
	}
	return append(append(append(args, options...), "--", s.host), command...)
}

// forward has ssh listen on a socket of this machine in a directory that only its user can enter, until end is called.
func (s *ssh) forward(ctx context.Context, socket string) (local string, end func() error, err error) {
	fail := func(err error) (string, func() error, error) {
		return "", nil, fmt.Errorf("forward %s of %s: %w", socket, s.name(), err)
	}
	dir, err := os.MkdirTemp("", "fwd") // short: a socket's path may have some 100 bytes
	if err != nil {
		return fail(err)
	}
	local = filepath.Join(dir, "s")
	said := &tail{most: mostSaid}
	p, err := process.Start(context.WithoutCancel(ctx), process.Spec{
		Args: s.args([]string{"-N", "-o", "ExitOnForwardFailure=yes", "-L", local + ":" + socket}), Stderr: said,
	})
	if err != nil {
		return fail(errors.Join(fmt.Errorf("%w; install the OpenSSH client", err), os.RemoveAll(dir)))
	}
	end = func() error {
		stopping, cancel := context.WithTimeout(context.Background(), connectPatience)
		defer cancel()
		return errors.Join(p.Stop(stopping, 0), os.RemoveAll(dir))
	}
	look := time.NewTicker(forwardInterval)
	defer look.Stop()
	for {
		if _, err := os.Stat(local); err == nil {
			return local, end, nil
		}
		select {
		case <-look.C:
		case <-p.Done():
			return fail(errors.Join(fmt.Errorf("%w: %s", p.Wait(), strings.TrimSpace(said.text())), os.RemoveAll(dir)))
		case <-ctx.Done():
			return fail(errors.Join(context.Cause(ctx), end()))
		}
	}
}

// forwardInterval is the time between two looks for the socket that ssh makes: it says nothing when it has.
const forwardInterval = 10 * time.Millisecond

// connect starts ssh with one end of a socket as its input and output. It returns before ssh has connected: why it could
// not is the error of the first read.
func (s *ssh) connect(ctx context.Context, options []string, command ...string) (net.Conn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.name(), err)
	}
	defer theirs.Close()
	said := &tail{most: mostSaid}
	// The connection outlives the request it is made for; closing it ends ssh.
	p, err := process.Start(context.WithoutCancel(ctx), process.Spec{
		Args: s.args(options, command...), Stdin: theirs, Stdout: theirs, Stderr: said,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w; install the OpenSSH client", s.name(), err), ours.Close())
	}
	return &sshConn{Conn: ours, host: s.name(), process: p, said: said}, nil
}

// socketPair is a connection and the file that is its other end.
func socketPair() (net.Conn, *os.File, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	file, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	ours, err := net.FileConn(file) // its own copy of the descriptor
	err = errors.Join(err, file.Close())
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// sshConn is a connection through an ssh process.
type sshConn struct {
	net.Conn
	host    string
	process *process.Process
	said    *tail
	close   sync.Once
}

// Read says why ssh has ended where it has.
func (c *sshConn) Read(data []byte) (int, error) {
	n, err := c.Conn.Read(data)
	if n > 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return n, err
	}
	timer := time.NewTimer(sayPatience)
	defer timer.Stop()
	select {
	case <-c.process.Done():
	case <-timer.C:
		return 0, err
	}
	if ended := c.process.Wait(); ended != nil {
		said := strings.TrimSpace(c.said.text())
		if said == "" {
			said = "it said nothing"
		}
		return 0, fmt.Errorf("connection to %s: %w: %s", c.host, ended, said)
	}
	return 0, err
}

// Close ends ssh too.
func (c *sshConn) Close() error {
	err := c.Conn.Close()
	c.close.Do(func() {
		go func() { _ = c.process.Stop(context.Background(), 0) }() // its end is nobody's concern any more
	})
	return err
}
