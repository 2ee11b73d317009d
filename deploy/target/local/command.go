package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/process"
)

// killPatience bounds the wait for the end of what was killed because the caller's ctx ended.
const killPatience = 5 * time.Second

// command is a unit that is a process.
type command struct {
	unit    deploy.Unit
	port    int
	log     *logFile
	process *process.Process
}

func (t *Target) startProcess(ctx context.Context, name deploy.Slot, release deploy.Release, u deploy.Unit) (*command, error) {
	dir, err := directory(u, "")
	if err != nil {
		return nil, err
	}
	port, err := portOf(ctx, u)
	if err != nil {
		return nil, err
	}
	home, log, err := t.files(name, release, u)
	if err != nil {
		return nil, err
	}
	c := &command{unit: u, port: port, log: log}
	if c.unit.Stop == 0 {
		c.unit.Stop = DefaultStop
	}
	c.process, err = process.Start(context.WithoutCancel(ctx), process.Spec{
		Args: expand(u.Command, port), Dir: dir, Env: environment(t.options.Env, u, dir, home, port),
		Stdout: log, Stderr: log, Grace: c.unit.Stop,
	})
	if err != nil {
		err = errors.Join(err, log.Close())
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; install it in the artifact or correct serve.command", err)
		}
		return nil, err
	}
	go func() {
		<-c.process.Done()
		_ = log.Close() // what it could not write it says in its tail
	}()
	return c, nil
}

// directory is an absolute directory within a unit's artifact.
func directory(u deploy.Unit, below string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(u.Artifact, u.Dir, below))
	if err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	return dir, err
}

// portOf is the unit's fixed port, or a free one.
func portOf(ctx context.Context, u deploy.Unit) (int, error) {
	if u.Port == 0 {
		return process.FreePort(host)
	}
	listener, err := listen(ctx, u.Port)
	if err != nil {
		return 0, err
	}
	return u.Port, listener.Close()
}

// listen listens on a port, 0 for any.
func listen(ctx context.Context, port int) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is in use: serve.port is fixed, and neither two slots nor two components can share it; "+
			"let the command listen on $PORT and remove serve.port, or free the port", port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return listener, nil
}

// files makes the unit's log and its home directory, so that it writes nothing into the user's.
func (t *Target) files(name deploy.Slot, release deploy.Release, u deploy.Unit) (home string, log *logFile, err error) {
	if t.options.Dir == "" {
		return "", newLog(nil, t.redactor), nil
	}
	base, err := filepath.Abs(filepath.Join(t.options.Dir, string(name)+"-"+fileName(u.Component)))
	if err != nil {
		return "", nil, err
	}
	home = base + ".home"
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", nil, err
	}
	file, err := os.OpenFile(base+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return "", nil, err
	}
	_, err = fmt.Fprintf(file, "--- release %s, %s\n", release.Version, time.Now().UTC().Format(time.RFC3339))
	return home, newLog(file, t.redactor), err
}

func (c *command) component() string { return c.unit.Component }

func (c *command) endpoint() *url.URL {
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(c.port))}
}

// lastLines is how much of a log an error shows.
const lastLines = 20

func (c *command) alive() error {
	select {
	case <-c.process.Done():
	default:
		return nil
	}
	how := "it ended with exit code 0"
	if err := c.process.Wait(); err != nil {
		how = err.Error()
	}
	log := last(c.log.Tail(), lastLines)
	if log == "" {
		log = "(it wrote nothing)"
	}
	return fmt.Errorf("%s; the end of its log:\n%s", how, log)
}

func (c *command) logs() string { return c.log.Tail() }

func (c *command) stop(ctx context.Context) error {
	err := c.process.Stop(ctx, c.unit.Stop)
	if err == nil {
		return nil
	}
	select {
	case <-c.process.Done():
	case <-time.After(killPatience):
		err = fmt.Errorf("%w; process %d is still there", err, c.process.PID())
	}
	return err
}

// last is the last n lines of a text.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
