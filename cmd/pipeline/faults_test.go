package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rehearseSample rehearses the sample's next release with directories laid over it.
func rehearseSample(t *testing.T, overlays ...string) outcome {
	t.Helper()
	args := []string{"rehearse", "testdata/metaextract", "--overlay", "testdata/next", "--from", "testdata/metaextract",
		"--runner", "host", "--report", filepath.Join(t.TempDir(), "report")}
	for _, o := range overlays {
		args = append(args, "--overlay", o)
	}
	return pipeline(t, repository, args...)
}

// configure is an overlay with the sample's pipeline.yaml, in which texts are replaced: old, new, old, new …
func configure(t *testing.T, pairs ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, "testdata", "metaextract", "pipeline.yaml"))
	require.NoError(t, err)
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		text = replaceOnce(t, text, pairs[i], pairs[i+1])
	}
	return write(t, map[string]string{"pipeline.yaml": text})
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
		// passes: every check and test of the release passes. Those that never see a database are left out then, since they
		// would be run again for every fault.
		passes bool
	}{
		"failing-property": {says: []string{"frontend/property", "counterexample", "--seed="}},
		"failing-unit":     {says: []string{"backend/unit", "test_"}},
		"lint":             {says: []string{"frontend/lint", "frontend/src/main.tsx:10", "debugger"}},
		"migration-syntax": {says: []string{"migrations/0001_kind.sql:1:", "ADD COLUM", "syntax error"}},
		"exits-at-start":   {says: []string{"backend: python ended with exit code 1", "ARCHIVE_BUCKET is not set"}},
		"never-ready":      {says: []string{"backend", "/readyz", "503"}},
		"breaks-running-release": {passes: true, says: []string{
			"rehearsing: migrations/0001_kind.sql:14: the running release uses column public.extractions.created_at, which is gone"}},
		"flushes-redis": {passes: true, says: []string{"Redis: phase start called FLUSHDB once: it empties the cache of the running release"}},
	}
	const phase, python = "phase: 3s", "    runtimes: [python]\n"
	short := configure(t, phase, "phase: 1s")
	database := configure(t, phase, "phase: 1s", python, python+`    commands: {lint: "", typecheck: "", unit: "", property: ""}`+"\n")
	for fault, test := range tests {
		t.Run(fault, func(t *testing.T) {
			how := short
			if test.passes {
				how = database
			}
			got := rehearseSample(t, filepath.Join("testdata", "faults", fault), how)
			assert.Equal(t, 1, got.code, got.out)
			screen := strings.Join(strings.Fields(got.firstScreen()), " ")
			for _, text := range test.says {
				assert.Contains(t, screen, text)
			}
			if test.passes {
				assert.Regexp(t, `(?m)^  ✓ test +passed`, got.out)
			}
		})
	}
}

// What only the rehearsal of the migrations can tell is asked of that alone: it needs no release to be built and served.
func TestFaultyMigrationIsRefusedOnADatabaseThatIsMadeForIt(t *testing.T) {
	tests := map[string][]string{
		"blocks-writers": {
			"blocked-reads migrations/0001_kind.sql:4 measured the migration keeps readers of public.extractions waiting for", "and 2s is the budget",
			"blocked-writes migrations/0001_kind.sql:4 measured the migration keeps writers of public.extractions waiting for"},
		"way-back-elsewhere": {
			"way-back-leads-elsewhere", "the schema after the way back is not the one from before: column public.extractions.kind added",
			"correct the down files, or declare in the migration: -- deploy: irreversible REASON"},
		"undeclared-change": {
			"undeclared-data-change migrations/0001_kind.sql measured values of column public.extractions.mime_type changed (20000 before, 20000 now), " +
				"and no migration says that it is meant to be",
			"if it is meant, add to the migration: -- deploy: changes extractions.mime_type"},
	}
	for fault, says := range tests {
		t.Run(fault, func(t *testing.T) {
			got := pipelineWith(t, repository, []string{"DATABASE_URL="}, "migrate", "rehearse", "testdata/metaextract", "--from", "testdata/metaextract",
				"--overlay", "testdata/next", "--overlay", filepath.Join("testdata", "faults", fault))
			assert.Equal(t, 1, got.code, got.out)
			screen := strings.Join(strings.Fields(got.firstScreen()), " ")
			for _, text := range says {
				assert.Contains(t, screen, text)
			}
			assert.Contains(t, got.out, "no database is named: making one at the schema of")
		})
	}
}

func TestATestThatHangsIsStoppedAtItsTimeout(t *testing.T) {
	const python = "    runtimes: [python]\n"
	got := rehearseSample(t, filepath.Join("testdata", "faults", "hanging-test"), configure(t, python, python+"    timeouts: {unit: 20s}\n"))
	assert.Equal(t, 1, got.code, got.out)
	assert.Contains(t, got.firstScreen(), "backend/unit")
	assert.Contains(t, got.firstScreen(), "20s")
}

func TestThePackageOfBothRuntimesIsProvenAgainstItself(t *testing.T) {
	got := pipeline(t, repository, "rehearse", "testdata/single-package", "--runner", "host", "--report", filepath.Join(t.TempDir(), "report"))
	assert.Equal(t, 0, got.code, got.out)
	assert.Contains(t, got.out, "rehearsed against itself")
}
