package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/process"
)

type endpoint = url.URL

// Defaults of a unit.
const (
	host        = "127.0.0.1"
	defaultStop = 10 * time.Second
	logTail     = 16 << 10 // bytes kept of a unit's output
	lastLines   = 15       // shown of a unit that has ended
)

// command is a unit that is a process.
type command struct {
	spec    deploy.Unit
	port    int
	process *process.Process
	log     *tail
}

func (t *Target) startProcess(ctx context.Context, slot deploy.Slot, spec deploy.Unit) (unit, error) {
	if len(spec.Command) == 0 {
		return nil, errors.New("it has neither a command nor static files")
	}
	port := spec.Port
	if port == 0 {
		free, err := process.FreePort(host)
		if err != nil {
			return nil, err
		}
		port = free
	} else if err := free(ctx, port); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(t.options.Dir, fmt.Sprintf("%s-%s.log", slot, spec.Component)))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	c := &command{spec: spec, port: port, log: newTail(file, t.options.Redact)}
	dir := filepath.Join(spec.Artifact, filepath.FromSlash(spec.Dir))
	expand := strings.NewReplacer("${HOST}", host, "$HOST", host, "${PORT}", strconv.Itoa(port), "$PORT", strconv.Itoa(port))
	args := make([]string, len(spec.Command))
	for i, a := range spec.Command {
		args[i] = expand.Replace(a)
	}
	// The process must outlive the call: ctx bounds the start alone.
	c.process, err = process.Start(context.WithoutCancel(ctx), process.Spec{
		Args: args, Dir: dir, Env: c.env(t.options.Env, dir), Stdout: c.log, Stderr: c.log,
	})
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return c, nil
}

// env is the target's environment, the unit's over it, and programs of the unit's own dependencies first on PATH.
func (c *command) env(base []string, dir string) []string {
	env := map[string]string{"HOST": host, "PORT": strconv.Itoa(c.port)}
	for _, line := range base {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	maps.Copy(env, map[string]string{"HOST": host, "PORT": strconv.Itoa(c.port)})
	maps.Copy(env, c.spec.Env)
	own := []string{filepath.Join(dir, ".venv", "bin"), filepath.Join(dir, "node_modules", ".bin"), env["PATH"]}
	env["PATH"] = strings.Join(own, string(os.PathListSeparator))
	lines := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		lines = append(lines, name+"="+env[name])
	}
	return lines
}

// free says whether a fixed port can be listened on.
func free(ctx context.Context, port int) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d is in use (%w); a fixed port serves one slot at a time: let the command listen on $PORT instead", port, err)
	}
	return l.Close()
}

func (c *command) component() string { return c.spec.Component }
func (c *command) address() string   { return net.JoinHostPort(host, strconv.Itoa(c.port)) }
func (c *command) logs() string      { return c.log.String() }

func (c *command) alive() error {
	select {
	case <-c.process.Done():
	default:
		return nil
	}
	why := "it ended"
	if err := c.process.Wait(); err != nil {
		why = err.Error()
	} else {
		why += " with exit code 0; a served component must keep running"
	}
	lines := strings.Split(strings.TrimSpace(c.logs()), "\n")
	return fmt.Errorf("%s; last lines of its output:\n%s", why, strings.Join(lines[max(0, len(lines)-lastLines):], "\n"))
}

func (c *command) stop(ctx context.Context) error {
	grace := c.spec.Stop
	if grace == 0 {
		grace = defaultStop
	}
	defer c.log.Close()
	return c.process.Stop(ctx, grace)
}

// tail keeps the end of what is written, and all of it in a file.
type tail struct {
	mu     sync.Mutex
	file   *os.File
	redact *strings.Replacer
	end    []byte
}

func newTail(file *os.File, secrets []string) *tail {
	var pairs []string
	for _, s := range secrets {
		if s != "" {
			pairs = append(pairs, s, "***")
		}
	}
	return &tail{file: file, redact: strings.NewReplacer(pairs...)}
}

// Write never fails: a full disk must not stop the application that is being watched.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.redact.Replace(string(p))
	_, _ = t.file.WriteString(text)
	t.end = append(t.end, text...)
	if extra := len(t.end) - logTail; extra > 0 {
		t.end = append(t.end[:0], t.end[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}

func (t *tail) Close() { _ = t.file.Close() }
