package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// asPipeline makes the test binary the command itself, in a process of its own.
const asPipeline = "PIPELINE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asPipeline) != "" {
		ctx, stop := interruptible()
		code := run(ctx, os.Args[1:])
		stop()
		os.Exit(code)
	}
	adoptOrphans()
	pgtest.Main(m)
}

// repository is the root of this repository.
const repository = "../.."

// outcome is what a run of the command left.
type outcome struct {
	code   int
	out    string // standard output and standard error, as a person sees them
	stdout string // what a program reads
}

// firstScreen is what a terminal of 24 lines shows from the verdict on.
func (o outcome) firstScreen() string {
	at := regexp.MustCompile(`(?m)^(PROVEN|REFUSED|BROKEN)`).FindStringIndex(o.stdout)
	if at == nil {
		return o.out
	}
	lines := strings.Split(o.stdout[at[0]:], "\n")
	return strings.Join(lines[:min(24, len(lines))], "\n")
}

// pipeline runs the command in dir, bounded in time, and checks that it left no process.
func pipeline(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	return pipelineWith(t, dir, nil, args...)
}

func pipelineWith(t *testing.T, dir string, env []string, args ...string) outcome {
	t.Helper()
	before := orphans(t) // servers of the tests
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := command(ctx, dir, env, args...)
	var out screen
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &stdout), &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run pipeline: %v", err)
	}
	if ctx.Err() != nil {
		t.Fatalf("pipeline %s did not end in time:\n%s", strings.Join(args, " "), out.String())
	}
	assert.Subset(t, before, orphans(t), "processes left by pipeline %s", strings.Join(args, " "))
	return outcome{code: cmd.ProcessState.ExitCode(), out: out.String(), stdout: stdout.String()}
}

// command is the command in dir, in a process of its own.
func command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asPipeline+"=1", "GITHUB_ACTIONS=", "GITHUB_REF=", "COLUMNS=100")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// screen takes what is written to it by two, in the order in which it comes.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// write makes a directory of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func replaceOnce(t *testing.T, text, old, with string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(text, old), "%q in\n%s", old, text)
	return strings.Replace(text, old, with, 1)
}

// watched closes found when a text has been written.
type watched struct {
	until string
	found chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	done bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if !w.done && strings.Contains(w.text.String(), w.until) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}
