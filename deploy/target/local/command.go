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
	"github.com/metaextract/pipeline/internal/redact"
)

// killPatience bounds the wait for the end of what was killed because the caller's ctx ended.
const killPatience = 5 * time.Second

// command is a unit that is a process.
type command struct {
	unit    deploy.Unit
	port    int
	log     *Log
	process *process.Process
}

func (t *Target) startCommand(ctx context.Context, u deploy.Unit, f files, c Conditions) (unit, error) {
	dir, err := directory(u, "")
	if err != nil {
		return nil, err
	}
	port, err := portOf(ctx, u)
	if err != nil {
		return nil, err
	}
	home, log, err := t.open(f, u)
	if err != nil {
		return nil, err
	}
	if u.Stop == 0 {
		u.Stop = DefaultStop
	}
	spec := process.Spec{
		Args: expand(u.Command, port), Dir: dir, Env: environment(c.Env, u, dir, home, port),
		Stdout: log, Stderr: log, Grace: u.Stop, Hold: t.options.Hold,
	}
	started, err := t.run(ctx, command{unit: u, port: port, log: log}, spec, c)
	if err != nil {
		err = errors.Join(err, log.Close())
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; install it in the artifact or correct serve.command", err)
		}
		return nil, err
	}
	return started, nil
}

// run starts the process, to be kept or not.
func (t *Target) run(ctx context.Context, c command, spec process.Spec, conditions Conditions) (started unit, err error) {
	var done <-chan struct{}
	if t.options.Keep {
		k := &kept{unit: c.unit, port: c.port, log: c.log}
		k.process, err = process.Keep(ctx, spec, process.Keeping{Memory: conditions.Memory[c.unit.Component]})
		if err != nil {
			return nil, err
		}
		started, done = k, k.process.Done()
	} else {
		c.process, err = process.Start(context.WithoutCancel(ctx), spec)
		if err != nil {
			return nil, err
		}
		started, done = &c, c.process.Done()
	}
	go func() {
		<-done
		_ = c.log.Close() // what it could not write it says in its tail
	}()
	return started, nil
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

// files say where what a unit writes goes.
type files struct {
	slot     deploy.Slot
	version  string
	redactor *redact.Redactor
}

// open makes the unit's log and its home directory, so that it writes nothing into the user's.
func (t *Target) open(f files, u deploy.Unit) (home string, log *Log, err error) {
	if t.options.Dir == "" {
		return "", newLog(nil, f.redactor), nil
	}
	base, err := filepath.Abs(filepath.Join(t.options.Dir, string(f.slot)+"-"+fileName(u.Component)))
	if err != nil {
		return "", nil, err
	}
	home = base + ".home"
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", nil, err
	}
	log, err = OpenLog(base+".log", t.options.MaxLog, f.redactor)
	if err != nil {
		return "", nil, err
	}
	log.note(fmt.Sprintf("--- release %s, %s\n", f.version, time.Now().UTC().Format(time.RFC3339)))
	return home, log, nil
}

func (c *command) component() string { return c.unit.Component }

func (c *command) endpoint() *url.URL { return endpoint(c.port) }

func endpoint(port int) *url.URL {
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port))}
}

// lastLines is how much of a log an error shows.
const lastLines = 20

func (c *command) alive() error {
	select {
	case <-c.process.Done():
	default:
		return nil
	}
	return errors.New(howItEnded(c.process.Wait()) + theEndOf(c.log))
}

func howItEnded(err error) string {
	if err == nil {
		return "it ended with exit code 0"
	}
	return err.Error()
}

func theEndOf(l *Log) string {
	text := last(l.Tail(), lastLines)
	if text == "" {
		text = "(it wrote nothing)"
	}
	return "; the end of its log:\n" + text
}

func (c *command) logs() string { return c.log.Tail() }

func (c *command) stop(ctx context.Context) error {
	return stopped(c.process.Stop(ctx, c.unit.Stop), c.process.Done())
}

// stopped waits a little for what was killed because the caller's ctx ended.
func stopped(err error, done <-chan struct{}) error {
	if err == nil {
		return nil
	}
	select {
	case <-done:
	case <-time.After(killPatience):
		err = fmt.Errorf("%w; it is still there", err)
	}
	return err
}

// last is the last n lines of a text.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
