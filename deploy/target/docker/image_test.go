package docker

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"maps"

	"github.com/stretchr/testify/require"
)

// program is the suite's application as a static program, built once.
var program = sync.OnceValues(func() (string, error) { return build("../targettest/app") })

// built are the directories of programs; they are removed at the end.
var built []string

// build builds a command of this repository as a static program and returns its file.
func build(directory string) (string, error) {
	dir, err := os.MkdirTemp("", "built")
	if err != nil {
		return "", err
	}
	built = append(built, dir)
	command := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "program"), directory)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", directory, err, out)
	}
	return filepath.Join(dir, "program"), nil
}

// imageConfig is what an image says about itself (OCI image specification, config.md).
type imageConfig struct {
	Env        []string `json:"Env,omitempty"`
	Cmd        []string `json:"Cmd,omitempty"`
	WorkingDir string   `json:"WorkingDir,omitempty"`
	User       string   `json:"User,omitempty"`
}

// tarball is an image of the application.
func tarball(t *testing.T, reference string, files map[string]string, config imageConfig) *bytes.Reader {
	t.Helper()
	file, err := program()
	require.NoError(t, err)
	return imageOf(t, reference, file, files, config)
}

// imageOf is an image made from nothing, as `docker save` writes it: a program at /program and the files below /app.
func imageOf(t *testing.T, reference, program string, files map[string]string, config imageConfig) *bytes.Reader {
	t.Helper()
	data, err := os.ReadFile(program)
	require.NoError(t, err)
	contents := map[string][]byte{"program": data, "tmp/.keep": nil}
	for name, content := range files {
		contents["app/"+name] = []byte(content)
	}
	layer := archive(t, contents)
	sum := sha256.Sum256(layer)
	text, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	require.NoError(t, err)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{reference}, "Layers": []string{"layer.tar"}}})
	require.NoError(t, err)
	return bytes.NewReader(archive(t, map[string][]byte{"config.json": text, "layer.tar": layer, "manifest.json": manifest}))
}

func archive(t *testing.T, contents map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(contents[name])), Typeflag: tar.TypeReg}))
		_, err := w.Write(contents[name])
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}
