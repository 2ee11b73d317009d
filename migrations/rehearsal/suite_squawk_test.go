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

	"github.com/metaextract/pipeline/internal/squawktest"
)

// TestSquawkSaysOfTheSuiteWhatIsWrittenThere runs squawk with its default settings.
func TestSquawkSaysOfTheSuiteWhatIsWrittenThere(t *testing.T) {
	program := squawktest.Install(t, "what squawk says of the suite is taken from its squawk.txt files")
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
