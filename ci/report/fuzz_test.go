package report

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
)

// seedWith adds every file of a directory of testdata.
func seedWith(f *testing.F, dir string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*"))
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
}

// fuzz reads garbage and checks what holds whatever was read.
func fuzz(f *testing.F, result func(data []byte) ci.Result) {
	f.Fuzz(func(t *testing.T, data []byte) {
		failures, summary := Failures(result(data))
		if len(failures) == 0 || len(failures) > maxFailures {
			t.Fatalf("%d failures of a step that failed", len(failures))
		}
		r := &Report{Verdict: Refused, Reasons: []string{summary}, Failures: failures}
		for _, failure := range failures {
			text := failure.Title + failure.File + failure.Message + failure.Seed + failure.Example + failure.Replay
			if failure.Title == "" || failure.Line < 0 || len(failure.Message) > maxMessageBytes || !utf8.ValidString(text) ||
				strings.ContainsAny(text, "\x1b\x00\r\x7f") || strings.Contains(failure.Reproduce, "\n") {
				t.Fatalf("%+v", failure)
			}
		}
		for _, write := range []func(io.Writer, *Report) error{WriteHTML, WriteMarkdown, WriteJSON, WriteAnnotations} {
			if err := write(io.Discard, r); err != nil {
				t.Fatal(err)
			}
		}
		if err := WriteScreen(io.Discard, r, 80, true); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzJest(f *testing.F) {
	seedWith(f, "jest")
	fuzz(f, func(data []byte) ci.Result { return withReport(frontend, ci.JestJSON, data) })
}

func FuzzJUnit(f *testing.F) {
	seedWith(f, "junit")
	fuzz(f, func(data []byte) ci.Result { return withReport(backend, ci.JUnit, data) })
}

func FuzzSARIF(f *testing.F) {
	seedWith(f, "sarif")
	fuzz(f, func(data []byte) ci.Result { return withReport(repository, ci.SARIF, data) })
}

func FuzzLog(f *testing.F) {
	seedWith(f, "logs")
	fuzz(f, func(data []byte) ci.Result { return withLog(frontend, data) })
}
