package survey

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// PyProject is the file that describes a Python project.
const PyProject = "pyproject.toml"

// requirementFiles are the files an install can be made from, by their names in the package's directory.
var requirementFiles = []string{"requirements.lock", "requirements.txt", "requirements-dev.lock", "requirements-dev.txt", "dev-requirements.txt"}

// PythonProject is a pyproject.toml, requirements files, or both.
type PythonProject struct {
	Name         string
	Requirements []string // files, relative to the package
	Packaged     bool     // it can be built into a wheel, so its modules are importable once installed

	dependencies map[string]bool // normalised names, with those only used in development
}

// File is the file to look at first, relative to the package.
func (p *PythonProject) File() string {
	if len(p.Requirements) > 0 {
		return p.Requirements[0]
	}
	return PyProject
}

type pyproject struct {
	Project *struct {
		Name         string              `toml:"name"`
		Dependencies []string            `toml:"dependencies"`
		Optional     map[string][]string `toml:"optional-dependencies"`
	} `toml:"project"`
	BuildSystem *struct {
		Requires []string `toml:"requires"`
	} `toml:"build-system"`
	Groups map[string][]any `toml:"dependency-groups"`
	Tool   struct {
		Poetry *struct {
			Name         string         `toml:"name"`
			Dependencies map[string]any `toml:"dependencies"`
		} `toml:"poetry"`
	} `toml:"tool"`
}

// HasPython says whether a directory is a Python project. A pyproject.toml that only configures tools makes none.
func HasPython(tree fs.FS, dir string) bool {
	p, err := ReadPython(tree, dir)
	return p != nil || err != nil
}

// RequirementFiles are the requirements files of a directory, relative to it.
func RequirementFiles(tree fs.FS, dir string) []string {
	var found []string
	for _, f := range append(requirementFiles[:len(requirementFiles):len(requirementFiles)], "requirements/dev.txt") {
		if exists(tree, path.Join(dir, f)) {
			found = append(found, f)
		}
	}
	return found
}

// ReadPython reads a directory's Python project; nil where there is none.
func ReadPython(tree fs.FS, dir string) (*PythonProject, error) {
	p := &PythonProject{Requirements: RequirementFiles(tree, dir), dependencies: map[string]bool{}}
	for _, f := range p.Requirements {
		data, err := fs.ReadFile(tree, path.Join(dir, f))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path.Join(dir, f), err)
		}
		for line := range strings.Lines(string(data)) {
			p.require(line)
		}
	}
	file := path.Join(dir, PyProject)
	data, err := fs.ReadFile(tree, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var project pyproject
	if _, err := toml.Decode(string(data), &project); err != nil {
		return nil, fmt.Errorf("%s is not valid: %w", file, err)
	}
	if project.Project == nil && project.Tool.Poetry == nil && len(p.Requirements) == 0 {
		return nil, nil
	}
	p.read(project)
	return p, nil
}

func (p *PythonProject) read(project pyproject) {
	p.Packaged = project.BuildSystem != nil
	if own := project.Project; own != nil {
		p.Name = own.Name
		for _, r := range own.Dependencies {
			p.require(r)
		}
		for _, group := range own.Optional {
			for _, r := range group {
				p.require(r)
			}
		}
	}
	for _, group := range project.Groups {
		for _, r := range group {
			if text, ok := r.(string); ok {
				p.require(text)
			}
		}
	}
	if poetry := project.Tool.Poetry; poetry != nil {
		p.Name = poetry.Name
		for name := range poetry.Dependencies {
			p.require(name)
		}
	}
}

var requirement = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*`)

var separators = regexp.MustCompile(`[-_.]+`)

// require notes the distribution that a requirement names: "psycopg" of "psycopg[binary]>=3.2".
func (p *PythonProject) require(text string) {
	if name := requirement.FindString(strings.TrimSpace(text)); name != "" {
		p.dependencies[separators.ReplaceAllString(strings.ToLower(name), "-")] = true
	}
}

// uses returns whether the project depends on any of these, by their normalised names.
func (p *PythonProject) uses(names ...string) bool {
	for _, name := range names {
		if p.dependencies[name] {
			return true
		}
	}
	return false
}
