// Package survey says what a repository is made of: its Node and Python packages, how they are served, the database and
// servers they use. It reads a tree and guesses; it runs nothing, and package config decides what to make of it.
package survey

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Bounds of a survey: enough for an application, and a survey of the wrong directory still ends.
const (
	maxFiles        = 50_000
	maxSourceBytes  = 1 << 20
	maxPackageDepth = 3 // a package deeper than a/b/c is a fixture or an example
)

// Package is a directory with a package.json, a Python project, or both.
type Package struct {
	Dir    string // slash-separated, "." for the root
	Node   *NodePackage
	Python *PythonProject
}

// Repository is what a tree holds.
type Repository struct {
	Packages []Package
	Skipped  []string // package files that were found and left out, with the reason

	tree  fs.FS
	files []string
	text  map[string]string // of source files, by path
}

// leftovers are directories that tools make; what is in them is nobody's source.
var leftovers = []string{"node_modules", "venv", "env", "dist", "build", "out", "coverage", "__pycache__", "site-packages", "vendor", "target"}

// asides are directories whose packages are no part of the application.
var asides = []string{"testdata", "fixtures", "examples", "example", "docs", "test", "tests", "e2e", "scripts", "tools", "benchmarks"}

// Survey reads the tree.
func Survey(tree fs.FS) (*Repository, error) {
	r := &Repository{tree: tree, text: map[string]string{}}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission) && name != ".": // a database's directory, say
			return fs.SkipDir
		case err != nil:
			return err
		case entry.IsDir() && name != "." && (strings.HasPrefix(entry.Name(), ".") || slices.Contains(leftovers, entry.Name())):
			return fs.SkipDir
		case entry.Type().IsRegular():
			r.files = append(r.files, name)
		}
		if len(r.files) > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return r, r.findPackages()
}

func (r *Repository) findPackages() error {
	var dirs []string
	for _, f := range r.files {
		dir, base := path.Split(f)
		if dir = path.Clean(dir); base != PackageJSON && base != PyProject && !slices.Contains(requirementFiles, base) {
			continue
		}
		if aside := firstCommon(strings.Split(dir, "/"), asides); aside != "" {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %s/ is taken for no part of the application", f, aside))
		} else if dir != "." && strings.Count(dir, "/") >= maxPackageDepth {
			r.Skipped = append(r.Skipped, f+": too deep for a component")
		} else if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs) // "." sorts before every name
	for _, dir := range dirs {
		node, err := ReadNode(r.tree, dir)
		if err != nil {
			return err
		}
		if root := r.workspaceOf(dir); node != nil && root != "" {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: a workspace of %s, which installs and builds it", path.Join(dir, PackageJSON), root))
			node = nil
		}
		python, err := ReadPython(r.tree, dir)
		if err != nil {
			return err
		}
		if node != nil || python != nil {
			r.Packages = append(r.Packages, Package{Dir: dir, Node: node, Python: python})
		}
	}
	r.dropTaskRunner()
	return nil
}

// dropTaskRunner leaves out a package.json at the root that only drives the packages below it: nothing to serve, to build
// or to test by itself.
func (r *Repository) dropTaskRunner() {
	if len(r.Packages) < 2 || r.Packages[0].Dir != "." || r.Packages[0].Node == nil || len(r.Packages[0].Node.Workspaces) > 0 {
		return
	}
	root := r.Packages[0].Node
	if root.uses("vite", "express", "fastify", "koa", "hono", "next", "react", "vue", "svelte") || r.entry(r.Packages[0]) != "" {
		return
	}
	r.Skipped = append(r.Skipped, PackageJSON+": it serves nothing and packages are below it, so it is taken for a task runner")
	if r.Packages[0].Node = nil; r.Packages[0].Python == nil {
		r.Packages = r.Packages[1:]
	}
}

// DefaultBranch is the branch that releases are made from, as far as the clone tells: "main" where it does not.
func (r *Repository) DefaultBranch() string {
	if data, err := fs.ReadFile(r.tree, ".git/refs/remotes/origin/HEAD"); err == nil {
		if branch, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "ref: refs/remotes/origin/"); ok {
			return branch
		}
	}
	if !exists(r.tree, ".git/refs/heads/main") && exists(r.tree, ".git/refs/heads/master") {
		return "master"
	}
	return "main"
}

// workspaceOf returns the package.json that has dir as a workspace.
func (r *Repository) workspaceOf(dir string) string {
	for _, p := range r.Packages {
		if p.Node == nil {
			continue
		}
		for _, pattern := range p.Node.Workspaces {
			if ok, err := path.Match(path.Join(p.Dir, strings.ReplaceAll(pattern, "**", "*")), dir); ok && err == nil {
				return path.Join(p.Dir, PackageJSON)
			}
		}
	}
	return ""
}

// Source returns the text of a source file; "" where it is missing or larger than any that a person writes.
func (r *Repository) Source(name string) string {
	if text, ok := r.text[name]; ok {
		return text
	}
	text := ""
	if info, err := fs.Stat(r.tree, name); err == nil && info.Size() <= maxSourceBytes {
		if data, err := fs.ReadFile(r.tree, name); err == nil {
			text = string(data)
		}
	}
	r.text[name] = text
	return text
}

// sources are the source files of a package that belong to no package within it, tests left out unless asked for.
func (r *Repository) sources(p Package, tests bool, extensions ...string) []string {
	var found []string
	for _, f := range r.files {
		if !inside(f, p.Dir) || !slices.Contains(extensions, path.Ext(f)) || !tests && isTest(relative(p.Dir, f)) {
			continue
		}
		if !slices.ContainsFunc(r.Packages, func(q Package) bool { return q.Dir != p.Dir && inside(q.Dir, p.Dir) && inside(f, q.Dir) }) {
			found = append(found, f)
		}
	}
	return found
}

var nodeExtensions = []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx"}

// extensions are those of the package's languages.
func (p Package) extensions() []string {
	var all []string
	if p.Node != nil {
		all = append(all, nodeExtensions...)
	}
	if p.Python != nil {
		all = append(all, ".py")
	}
	return all
}

func isTest(name string) bool {
	dir, base := path.Split(name)
	for _, d := range strings.Split(dir, "/") {
		if slices.Contains([]string{"test", "tests", "__tests__", "testdata", "fixtures", "e2e"}, d) {
			return true
		}
	}
	return strings.Contains(base, ".test.") || strings.Contains(base, ".spec.") || strings.HasPrefix(base, "test_") || base == "conftest.py"
}

// inside says whether a path is in a directory, or is it.
func inside(name, dir string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

// relative is the way from a directory to a path, both relative to the root.
func relative(dir, name string) string {
	if dir == "." {
		return name
	}
	up := ""
	for !inside(name, dir) {
		dir, up = path.Dir(dir), up+"../"
	}
	if name == dir {
		return path.Clean(up + ".")
	}
	if dir != "." {
		name = strings.TrimPrefix(name, dir+"/")
	}
	return up + name
}

func firstCommon(words, of []string) string {
	if i := slices.IndexFunc(words, func(w string) bool { return slices.Contains(of, w) }); i >= 0 {
		return words[i]
	}
	return ""
}

func exists(tree fs.FS, name string) bool {
	_, err := fs.Stat(tree, name)
	return err == nil
}
