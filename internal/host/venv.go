package host

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// relocateLimit is the size up to which a file of a virtual environment is looked at for the path of the layer. Scripts
// are a few hundred bytes; compiled tools (ruff) are megabytes and know no path.
const relocateLimit = 256 << 10

// relocate clones a file of a Python virtual environment that names the original's path: scripts in bin/, whose first
// line is the interpreter's path, pyvenv.cfg, and the .pth files and finders of editable installs. The clone names its
// own path, so that .venv/bin/pytest of a step runs the step's own code. It returns false for all other files.
func relocate(source, target string, info fs.FileInfo, from, to string) (bool, error) {
	if info.Size() > relocateLimit || !mayNamePath(source) {
		return false, nil
	}
	data, err := os.ReadFile(source)
	if err != nil {
		return false, err
	}
	if !bytes.Contains(data, []byte(from+"/")) {
		return false, nil
	}
	data = bytes.ReplaceAll(data, []byte(from+"/"), []byte(to+"/"))
	// The time stays that of now: a compiled form of the original (.pyc) must not pass for one of this file.
	return true, os.WriteFile(target, data, info.Mode().Perm()|0o200)
}

// mayNamePath says whether a file of a virtual environment is of a kind that holds the path of what it was installed to.
func mayNamePath(path string) bool {
	name := filepath.Base(path)
	return filepath.Base(filepath.Dir(path)) == "bin" || name == "pyvenv.cfg" ||
		strings.HasSuffix(name, ".pth") || strings.HasSuffix(name, ".egg-link") || strings.HasPrefix(name, "__editable__")
}
