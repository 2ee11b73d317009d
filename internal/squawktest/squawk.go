// Package squawktest gives tests squawk, a linter of migrations from npm that our verdicts are compared with. It runs
// nothing else, and only tests call it.
package squawktest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Version is the version of squawk-cli that is compared with.
const Version = "2.66.0"

// Install puts squawk into the user's cache, once, and returns its program. A test without npm, or whose npm cannot install
// it, is skipped and says so, after what it says of itself.
func Install(t testing.TB, otherwise string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	home := filepath.Join(cache, "pipeline", "squawk-"+Version)
	program := filepath.Join(home, "node_modules", ".bin", "squawk")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip(otherwise + ": there is no npm to install squawk with")
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(home), 0o755))
	temporary, err := os.MkdirTemp(filepath.Dir(home), "squawk-")
	require.NoError(t, err)
	defer os.RemoveAll(temporary)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--silent", "--no-audit", "--no-fund", "squawk-cli@"+Version)
	install.Dir = temporary
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("%s: npm cannot install squawk: %v: %s", otherwise, err, out)
	}
	if err := os.Rename(temporary, home); err != nil && !errors.Is(err, os.ErrExist) {
		_, gone := os.Stat(program) // another process was first
		require.NoError(t, gone, err)
	}
	return program
}
