package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rehearseSample rehearses the sample's next release with faults laid over it.
func rehearseSample(t *testing.T, faults ...string) outcome {
	t.Helper()
	args := []string{"rehearse", "testdata/metaextract", "--overlay", "testdata/next", "--from", "testdata/metaextract",
		"--runner", "host", "--report", filepath.Join(t.TempDir(), "report")}
	for _, f := range faults {
		args = append(args, "--overlay", filepath.Join("testdata", "faults", f))
	}
	return pipeline(t, repository, args...)
}

func TestTheSampleIsProven(t *testing.T) {
	got := rehearseSample(t)
	assert.Equal(t, 0, got.code, got.out)
	assert.Contains(t, got.out, "PROVEN")
	assert.Contains(t, got.out, " 0 dropped")
	assert.Contains(t, got.out, "report.html")
}

func TestAFaultyReleaseIsRefusedAndTheFirstScreenNamesTheCause(t *testing.T) {
	tests := map[string]struct {
		says []string
	}{
		"failing-property": {[]string{"frontend/property", "counterexample", "--seed="}},
		"failing-unit":     {[]string{"backend/unit", "test_"}},
		"lint":             {[]string{"frontend/lint", "frontend/src/main.tsx:10", "debugger"}},
		"migration-syntax": {[]string{"migrations/0001_kind.sql:1:", "ADD COLUM", "syntax error"}},
		"exits-at-start":   {[]string{"backend: python ended with exit code 1", "ARCHIVE_BUCKET is not set"}},
		"never-ready":      {[]string{"backend", "/readyz", "503"}},
	}
	for fault, test := range tests {
		t.Run(fault, func(t *testing.T) {
			got := rehearseSample(t, fault)
			assert.Equal(t, 1, got.code, got.out)
			for _, text := range test.says {
				assert.Contains(t, got.firstScreen(), text)
			}
		})
	}
}

func TestATestThatHangsIsStoppedAtItsTimeout(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(repository, "testdata", "metaextract", "pipeline.yaml"))
	require.NoError(t, err)
	bounded := strings.Replace(string(config), "    runtimes: [python]\n", "    runtimes: [python]\n    timeouts: {unit: 20s}\n", 1)
	require.NotEqual(t, string(config), bounded)
	overlay := write(t, map[string]string{"pipeline.yaml": bounded})
	got := pipeline(t, repository, "rehearse", "testdata/metaextract", "--overlay", "testdata/next", "--overlay", "testdata/faults/hanging-test",
		"--overlay", overlay, "--from", "testdata/metaextract", "--runner", "host", "--report", filepath.Join(t.TempDir(), "report"))
	assert.Equal(t, 1, got.code, got.out)
	assert.Contains(t, got.firstScreen(), "backend/unit")
	assert.Contains(t, got.firstScreen(), "20s")
}

func TestThePackageOfBothRuntimesIsProvenAgainstItself(t *testing.T) {
	got := pipeline(t, repository, "rehearse", "testdata/single-package", "--runner", "host", "--report", filepath.Join(t.TempDir(), "report"))
	assert.Equal(t, 0, got.code, got.out)
	assert.Contains(t, got.out, "rehearsed against itself")
}
