package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const squawkVersion = "2.66.0"

// squawkProgram puts squawk into the user's cache, once.
func squawkProgram(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	home := filepath.Join(cache, "pipeline", "squawk-"+squawkVersion)
	program := filepath.Join(home, "node_modules", ".bin", "squawk")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("what squawk says of the suite is taken from its squawk.txt files: there is no npm to install it with")
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(home), 0o755))
	temporary, err := os.MkdirTemp(filepath.Dir(home), "squawk-")
	require.NoError(t, err)
	defer os.RemoveAll(temporary)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, npm, "install", "--silent", "--no-audit", "--no-fund", "squawk-cli@"+squawkVersion)
	install.Dir = temporary
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("what squawk says of the suite is taken from its squawk.txt files: npm cannot install it: %v: %s", err, out)
	}
	if err := os.Rename(temporary, home); err != nil && !errors.Is(err, os.ErrExist) {
		_, gone := os.Stat(program) // another process was first
		require.NoError(t, gone, err)
	}
	return program
}

// TestSquawkSaysOfTheSuiteWhatIsWrittenThere runs squawk with its default settings.
func TestSquawkSaysOfTheSuiteWhatIsWrittenThere(t *testing.T) {
	program := squawkProgram(t)
	files, err := filepath.Glob(suiteDir + "/[0-9]*/*up.sql")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append([]string{"--reporter", "json"}, files...)...).Output()
	var ended *exec.ExitError
	if !errors.As(err, &ended) { // it exits with 1 where it reports something
		require.NoError(t, err)
	}
	var violations []struct {
		File string `json:"file"`
		Rule string `json:"rule_name"`
	}
	require.NoError(t, json.Unmarshal(out, &violations), string(out))
	said := map[string][]string{}
	for _, v := range violations {
		name := filepath.Base(filepath.Dir(v.File))
		said[name] = append(said[name], v.Rule)
	}
	for _, c := range suiteCases(t) {
		slices.Sort(said[c.name])
		rules := slices.Compact(said[c.name])
		if *update {
			text := strings.Join(rules, "\n") + "\n"
			require.NoError(t, os.WriteFile(filepath.Join(suiteDir, c.name, "squawk.txt"), []byte(strings.TrimLeft(text, "\n")), 0o644))
			continue
		}
		assert.ElementsMatch(t, c.squawk, rules, c.name)
	}
}
