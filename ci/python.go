package ci

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// pythonPackage is a directory with a pyproject.toml, a requirements file, or both.
type pythonPackage struct {
	*component
	project pyproject
	locks   []string // requirement files to install, in order
	locked  string   // their text, lower case
}

// pyproject is the part of pyproject.toml that tells what there is to run.
type pyproject struct {
	Project struct {
		Name string `toml:"name"`
	} `toml:"project"`
	BuildSystem struct {
		Requires []string `toml:"requires"`
	} `toml:"build-system"`
	Tool map[string]any `toml:"tool"`
}

const (
	python = ".venv/bin/python"
	uv     = "uv==0.13.8" // pinned: it is run, not locked by the application
)

func newPythonPackage(c *component) (*pythonPackage, error) {
	p := &pythonPackage{component: c}
	if err := p.readProject(); err != nil {
		return nil, err
	}
	p.locks = p.requirementFiles()
	if len(p.locks) == 0 {
		return nil, fmt.Errorf("%s: no requirements.lock or requirements.txt; write one with pinned versions (pip-compile --generate-hashes, or uv export) and commit it, so that every run installs the same versions", c.dir)
	}
	for _, lock := range p.locks {
		data, err := fs.ReadFile(c.app, path.Join(c.dir, lock))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path.Join(c.dir, lock), err)
		}
		p.locked += strings.ToLower(string(data))
	}
	return p, nil
}

func (p *pythonPackage) readProject() error {
	file := path.Join(p.dir, "pyproject.toml")
	data, err := fs.ReadFile(p.app, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if _, err := toml.Decode(string(data), &p.project); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return fmt.Errorf("%s:%d:%d: %s", file, parse.Position.Line, parse.Position.Col, parse.Message)
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// requirementFiles prefers a file that names the development tools too. One that includes another by -r is enough alone.
func (p *pythonPackage) requirementFiles() []string {
	runtime := p.first("requirements.lock", "requirements.txt")
	dev := p.first("requirements-dev.lock", "requirements-dev.txt", "dev-requirements.txt", "requirements/dev.txt")
	switch {
	case dev == "" && runtime == "":
		return nil
	case dev == "":
		return []string{runtime}
	case runtime == "" || strings.HasSuffix(dev, ".lock"):
		return []string{dev}
	default:
		return []string{runtime, dev}
	}
}

func (p *pythonPackage) install(s *Step) {
	s.Inputs = append(s.Inputs, path.Join(p.dir, "requirements*.txt"), path.Join(p.dir, "requirements*.lock"),
		path.Join(p.dir, "requirements/**"), path.Join(p.dir, "*-requirements.txt"))
	s.Run = append(s.Run, []string{"python3", "-m", "venv", ".venv"})
	s.Caches = append(s.Caches, Cache{Key: "pip", Env: "PIP_CACHE_DIR"})
	pip := []string{python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"}
	var requirements []string
	for _, lock := range p.locks {
		requirements = append(requirements, "--requirement", lock)
	}
	if !strings.Contains(p.locked, "--hash=") {
		s.Run = append(s.Run, append(pip, requirements...))
		return
	}
	// uv takes a third of pip's time (measured: 7 s for pip's 20 s), but does not read pip's settings, so it might ask
	// another index. With hashes that cannot matter: the files are the locked ones or the installation fails. Where it
	// fails, pip decides.
	const pipLine = python + " -m pip install --no-input --disable-pip-version-check"
	files := strings.Join(requirements, " ")
	s.Run = append(s.Run, []string{"sh", "-c", fmt.Sprintf(
		"{ %s --quiet --target .venv/.uv %s && .venv/.uv/bin/uv pip install --python %s --compile-bytecode %s && rm -r .venv/.uv; } || %s %s", pipLine, uv, python, files, pipLine, files)})
	s.Caches = append(s.Caches, Cache{Key: "uv", Env: "UV_CACHE_DIR"})
	s.Env["UV_LINK_MODE"] = "copy"    // the cache stays whole when a tool writes in place
	s.Env["UV_SYSTEM_CERTS"] = "true" // trust what the system trusts, as pip does
	s.Env["UV_NO_CONFIG"] = "true"
}

// requires says whether the locked requirements name a distribution.
func (p *pythonPackage) requires(name string) bool {
	return regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(strings.ToLower(name)) + `(\[[^\]]*\])?\s*([=<>!~;@ \\]|$)`).MatchString(p.locked)
}

func (p *pythonPackage) configures(tool string, files ...string) bool {
	_, ok := p.project.Tool[tool]
	return ok || p.first(files...) != ""
}

func (p *pythonPackage) steps() []*Step {
	var steps []*Step
	steps = p.add(steps, Lint, "python", p.lint())
	steps = p.add(steps, Typecheck, "python", p.typecheck())
	for _, kind := range []Kind{Unit, Property, Integration} {
		run, reports := p.pytest(kind)
		steps = p.add(steps, kind, "python", run, reports...)
	}
	if p.has("src") {
		for _, s := range steps {
			s.Env["PYTHONPATH"] = "src"
		}
	}
	return steps
}

func (p *pythonPackage) lint() [][]string {
	var run [][]string
	if p.requires("ruff") || p.configures("ruff", "ruff.toml", ".ruff.toml") {
		run = append(run, []string{python, "-m", "ruff", "check", "."})
	}
	if p.requires("pylint") && p.configures("pylint", ".pylintrc", "pylintrc") {
		run = append(run, []string{python, "-m", "pylint", p.code()})
	}
	return run
}

func (p *pythonPackage) typecheck() [][]string {
	if !p.requires("mypy") || !p.configures("mypy", "mypy.ini", ".mypy.ini") {
		return nil
	}
	run := []string{python, "-m", "mypy"}
	if settings, ok := p.project.Tool["mypy"].(map[string]any); !ok || settings["files"] == nil {
		run = append(run, p.code())
	}
	return [][]string{run}
}

// code is where the sources are.
func (p *pythonPackage) code() string {
	if p.has("src") {
		return "src"
	}
	return "."
}

// pytest runs tests/unit, tests/property and tests/integration apart; everything else counts as unit tests.
func (p *pythonPackage) pytest(kind Kind) ([][]string, []Report) {
	if !p.requires("pytest") {
		return nil, nil
	}
	file := fmt.Sprintf(".pipeline-%s.xml", kind)
	run := []string{python, "-m", "pytest", "--junitxml=" + file}
	own := path.Join("tests", string(kind))
	switch {
	case p.has(own):
		run = append(run, own)
	case kind != Unit:
		return nil, nil
	default:
		for _, other := range []Kind{Property, Integration} {
			if dir := path.Join("tests", string(other)); p.has(dir) {
				run = append(run, "--ignore="+dir)
			}
		}
	}
	return [][]string{run}, []Report{{Format: JUnit, Path: file}}
}

// build makes the wheel and installs it into the component's environment, so that a slot runs what was packaged. An
// application without a build system is compiled instead, which finds syntax errors in files that no test imports.
func (p *pythonPackage) build() ([][]string, []Output) {
	if len(p.project.BuildSystem.Requires) == 0 || p.project.Project.Name == "" {
		return [][]string{{python, "-m", "compileall", "-q", "-x", `(^|/)(\.venv|node_modules)/`, "."}}, nil
	}
	pip := []string{python, "-m", "pip", "--no-input", "--disable-pip-version-check"}
	wheel := append(pip[:len(pip):len(pip)], "wheel", "--no-deps", "--wheel-dir", "dist")
	if p.requires(distribution(p.project.BuildSystem.Requires[0])) {
		wheel = append(wheel, "--no-build-isolation") // the locked build backend, not the newest
	}
	install := append(pip[:len(pip):len(pip)], "install", "--no-deps", "--no-index", "--force-reinstall",
		"--find-links", "dist", p.project.Project.Name)
	return [][]string{append(wheel, "."), install}, []Output{{Name: "wheel", Path: "dist"}}
}

var distributionName = regexp.MustCompile(`^[A-Za-z0-9._-]+`)

// distribution is the name in a requirement: "hatchling" in "hatchling>=1.27".
func distribution(requirement string) string { return distributionName.FindString(requirement) }
