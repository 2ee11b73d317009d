package survey

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// PackageJSON is the file that makes a directory a Node package.
const PackageJSON = "package.json"

// LockFiles are the lock files that an install can be made from, the preferred first.
var LockFiles = []string{"package-lock.json", "pnpm-lock.yaml", "yarn.lock"}

// NodePackage is a package.json and the lock file beside it.
type NodePackage struct {
	Name       string
	Main       string
	Scripts    map[string]string
	Workspaces []string
	Lock       string // one of LockFiles, "" for none

	dependencies map[string]bool // of all kinds
}

// HasNode says whether a directory is a Node package.
func HasNode(tree fs.FS, dir string) bool { return exists(tree, path.Join(dir, PackageJSON)) }

// ReadNode reads a directory's package.json; nil where there is none.
func ReadNode(tree fs.FS, dir string) (*NodePackage, error) {
	file := path.Join(dir, PackageJSON)
	data, err := fs.ReadFile(tree, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var raw struct {
		Name                 string            `json:"name"`
		Main                 string            `json:"main"`
		Scripts              map[string]string `json:"scripts"`
		Dependencies         map[string]string `json:"dependencies"`
		DevDependencies      map[string]string `json:"devDependencies"`
		OptionalDependencies map[string]string `json:"optionalDependencies"`
		Workspaces           json.RawMessage   `json:"workspaces"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s is not valid: %w", file, err)
	}
	n := &NodePackage{Name: raw.Name, Main: raw.Main, Scripts: raw.Scripts, dependencies: map[string]bool{}}
	for _, group := range []map[string]string{raw.Dependencies, raw.DevDependencies, raw.OptionalDependencies} {
		for name := range group {
			n.dependencies[name] = true
		}
	}
	if json.Unmarshal(raw.Workspaces, &n.Workspaces) != nil { // yarn's older form
		var nested struct {
			Packages []string `json:"packages"`
		}
		if json.Unmarshal(raw.Workspaces, &nested) == nil {
			n.Workspaces = nested.Packages
		}
	}
	for _, lock := range LockFiles {
		if exists(tree, path.Join(dir, lock)) {
			n.Lock = lock
			break
		}
	}
	return n, nil
}

// uses returns whether the package depends on any of these.
func (n *NodePackage) uses(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return n.dependencies[name] })
}

// startWords splits the start script, where it is one plain command.
func (n *NodePackage) startWords() []string {
	script := n.Scripts["start"]
	if strings.ContainsAny(script, "|&;<>()$`\\\"'*?[#~=%\n") {
		return nil
	}
	return strings.Fields(script)
}
