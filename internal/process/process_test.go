package process

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait of these tests; none comes near it on a healthy machine.
const patience = 20 * time.Second

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestProgramRunsWithTheGivenEnvironmentAndNothingElse(t *testing.T) {
	t.Setenv("OUTER", "1")
	var out bytes.Buffer
	err := Run(bounded(t), Spec{Args: []string{"env"}, Env: []string{"A=a", "PATH=" + os.Getenv("PATH"), "A=b"}, Stdout: &out})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"PATH=" + os.Getenv("PATH"), "A=b"}, strings.Split(strings.TrimSpace(out.String()), "\n"))
}

func TestProgramRunsInItsDirectoryAndReadsStdin(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	var out bytes.Buffer
	err = Run(bounded(t), Spec{Args: []string{"sh", "-c", "pwd; cat"}, Dir: dir, Stdin: strings.NewReader("hello"), Stdout: &out})
	require.NoError(t, err)
	assert.Equal(t, dir+"\nhello", out.String())
}

func TestOutputOfBothStreamsKeepsItsOrderInOneWriter(t *testing.T) {
	var out bytes.Buffer
	err := Run(bounded(t), Spec{Args: []string{"sh", "-c", "echo 1; echo 2 >&2; echo 3"}, Stdout: &out, Stderr: &out})
	require.NoError(t, err)
	assert.Equal(t, "1\n2\n3\n", out.String())
}

func TestOutputToAFileIsComplete(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, Run(bounded(t), Spec{Args: []string{"seq", "100000"}, Stdout: file}))
	data, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.True(t, bytes.HasSuffix(data, []byte("\n99999\n100000\n")))
}

// broken is a disk that is full, or a file that cannot be read.
type broken struct{ error }

func (b broken) Write([]byte) (int, error) { return 0, b }
func (b broken) Read([]byte) (int, error)  { return 0, b }

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	full := broken{errors.New("no space left")}
	assert.ErrorIs(t, Run(bounded(t), Spec{Args: []string{"echo", "hello"}, Stdout: full}), full)
	assert.ErrorIs(t, Run(bounded(t), Spec{Args: []string{"cat"}, Stdin: full}), full)
	var exit *ExitError
	assert.ErrorAs(t, Run(bounded(t), Spec{Args: []string{"sh", "-c", "echo hello; exit 3"}, Stdout: full}), &exit)
}

func TestExitCodeIsThatOfTheProgram(t *testing.T) {
	for script, want := range map[string]ExitError{
		"exit 1":        {Program: "sh", Code: 1},
		"exit 77":       {Program: "sh", Code: 77},
		"exit 143":      {Program: "sh", Code: 143},
		"kill -9 $$":    {Program: "sh", Code: 137, Signal: syscall.SIGKILL},
		"kill -TERM $$": {Program: "sh", Code: 143, Signal: syscall.SIGTERM},
	} {
		t.Run(script, func(t *testing.T) {
			p, err := Start(bounded(t), Spec{Args: []string{"sh", "-c", script}})
			require.NoError(t, err)
			var exit *ExitError
			require.ErrorAs(t, p.Wait(), &exit)
			assert.Equal(t, want, *exit)
			assert.Equal(t, want.Code, p.ExitCode())
		})
	}
}

func TestExitCodeIsUnknownUntilTheEnd(t *testing.T) {
	p, err := Start(bounded(t), Spec{Args: []string{"sleep", "60"}})
	require.NoError(t, err)
	assert.Equal(t, -1, p.ExitCode())
	require.NoError(t, p.Stop(bounded(t), 0))
	assert.NotEqual(t, -1, p.ExitCode())
}

func TestProgramThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode fs.FileMode) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), mode))
	}
	write("plain", "text", 0o644)
	write("lost", "#!/no/such/interpreter\n", 0o755)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	for name, test := range map[string]struct {
		spec Spec
		want error
	}{
		"not on PATH":            {Spec{Args: []string{"no-such-program"}}, exec.ErrNotFound},
		"not in the directory":   {Spec{Args: []string{"./absent"}, Dir: dir}, fs.ErrNotExist},
		"not executable":         {Spec{Args: []string{"./plain"}, Dir: dir}, fs.ErrPermission},
		"a directory":            {Spec{Args: []string{"./sub"}, Dir: dir}, fs.ErrPermission},
		"without an interpreter": {Spec{Args: []string{"./lost"}, Dir: dir}, fs.ErrNotExist},
		"without a directory":    {Spec{Args: []string{"true"}, Dir: filepath.Join(dir, "absent")}, fs.ErrNotExist},
		"with an empty PATH":     {Spec{Args: []string{"true"}, Env: []string{"PATH="}}, exec.ErrNotFound},
		"with a relative PATH":   {Spec{Args: []string{"lost"}, Dir: dir, Env: []string{"PATH=."}}, exec.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(bounded(t), test.spec)
			require.ErrorIs(t, err, test.want)
			assert.Contains(t, err.Error(), test.spec.Args[0])
		})
	}
	_, err := Start(bounded(t), Spec{})
	assert.Error(t, err)
}

func TestProgramInTheDirectoryIsFoundByARelativePath(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".venv/bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".venv/bin/tool"), []byte("#!/bin/sh\necho here\n"), 0o755))
	var out bytes.Buffer
	require.NoError(t, Run(bounded(t), Spec{Args: []string{".venv/bin/tool"}, Dir: dir, Stdout: &out}))
	assert.Equal(t, "here\n", out.String())
}

func TestCanceledContextStartsNothing(t *testing.T) {
	why := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := Start(ctx, Spec{Args: []string{"true"}})
	assert.ErrorIs(t, err, why)
}

func TestFreePortsDifferAndCanBeBound(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port, err := FreePort("127.0.0.1")
		require.NoError(t, err)
		assert.False(t, seen[port], "port %d twice", port)
		seen[port] = true
	}
	_, err := FreePort("no such host")
	assert.Error(t, err)
}
