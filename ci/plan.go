package ci

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/metaextract/pipeline/internal/config"
)

// Images are the image references that an engine takes a step's programs from. An empty one means the default.
type Images struct {
	Node   string
	Python string
	Go     string // builds gitleaks
}

// The images of a step that nobody chose another for.
const (
	NodeImage   = "node:24-slim"
	PythonImage = "python:3.13-slim"
	GoImage     = "golang:1.26"
)

// Plan is every step of an application's check, test and build stages.
type Plan struct {
	Steps []*Step
}

// NewPlan derives the steps from the configuration and from the application's own scripts, lock files and tool
// configuration. It reads app and runs nothing. Errors name the file to change.
func NewPlan(cfg *config.Config, app fs.FS, images Images) (*Plan, error) {
	images = images.withDefaults()
	p := &Plan{}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(cfg.Components)) {
		steps, err := componentSteps(cfg, name, app, images)
		if err != nil {
			problems = append(problems, fmt.Errorf("component %s: %w", name, err))
			continue
		}
		p.Steps = append(p.Steps, steps...)
	}
	if cfg.Checks.Secrets == nil || *cfg.Checks.Secrets {
		p.Steps = append(p.Steps, secretScan(images))
	}
	return p, errors.Join(problems...)
}

func (i Images) withDefaults() Images {
	for _, d := range []struct {
		image *string
		value string
	}{{&i.Node, NodeImage}, {&i.Python, PythonImage}, {&i.Go, GoImage}} {
		if *d.image == "" {
			*d.image = d.value
		}
	}
	return i
}

// Of returns the steps of the given kinds, in order. No kinds means all.
func (p *Plan) Of(kinds ...Kind) []Step {
	var steps []Step
	for _, s := range p.Steps {
		if len(kinds) == 0 || slices.Contains(kinds, s.Kind) {
			steps = append(steps, *s)
		}
	}
	return steps
}

// BuildOf returns the step whose file system is the component's artifact.
func (p *Plan) BuildOf(component string) (Step, bool) {
	for _, s := range p.Steps {
		if s.Component == component && s.Kind == Build {
			return *s, true
		}
	}
	return Step{}, false
}

// component collects what its steps have in common.
type component struct {
	name   string
	config config.Component
	dir    string // slash-separated, "." for the root
	app    fs.FS
	root   *config.Config
	tool   Tool
	mixed  bool
}

func componentSteps(cfg *config.Config, name string, app fs.FS, images Images) ([]*Step, error) {
	c := &component{name: name, config: cfg.Components[name], dir: path.Clean(cfg.Components[name].Path), app: app, root: cfg}
	usesNode := slices.Contains(c.config.Runtimes, config.Node)
	usesPython := slices.Contains(c.config.Runtimes, config.Python)
	c.mixed = usesNode && usesPython
	c.tool = toolFor(usesNode, usesPython, images)
	c.tool.Packages = append(c.tool.Packages, c.config.Packages...)

	install := c.step(Install, "")
	install.Inputs = nil
	var later []*Step
	var build [][]string
	var outputs []Output
	if usesNode {
		n, err := newNodePackage(c)
		if err != nil {
			return nil, err
		}
		n.install(install)
		later = append(later, n.steps()...)
		build = append(build, n.build()...)
	}
	if usesPython {
		p, err := newPythonPackage(c)
		if err != nil {
			return nil, err
		}
		p.install(install)
		later = append(later, p.steps()...)
		commands, wheel := p.build()
		build = append(build, commands...)
		outputs = append(outputs, wheel...)
	}
	if own, ok := c.config.Commands[string(Install)]; ok {
		install.Run = split(own)
	}
	later = append(later, c.buildStep(build, outputs))
	for _, s := range later {
		s.After = install
		if usesPython { // so that a Node server finds the Python that has the requirements, as it does in a slot
			s.Path = []string{".venv/bin"}
		}
	}
	return append([]*Step{install}, later...), nil
}

// buildStep makes the component's artifact. A component without a build of its own still has one: its sources on top of
// its installed dependencies are what a slot runs.
func (c *component) buildStep(run [][]string, outputs []Output) *Step {
	s := c.step(Build, "")
	s.Run, s.Outputs = run, outputs
	if own, ok := c.config.Commands[string(Build)]; ok {
		s.Run = split(own)
	}
	if serve := c.config.Serve; serve != nil && serve.Static != "" {
		s.Outputs = append(s.Outputs, Output{Name: "bundle", Path: serve.Static})
	}
	for _, o := range s.Outputs { // what an earlier build left in the checkout is not an input
		s.Inputs = append(s.Inputs, "!"+path.Join(c.dir, o.Path, "**"))
	}
	return s
}

// step makes a step of the component with the defaults that all share. suffix tells two steps of one kind apart in a
// component with both runtimes.
func (c *component) step(kind Kind, suffix string) *Step {
	name := string(kind)
	if suffix != "" && c.mixed {
		name += "-" + suffix
	}
	return &Step{
		Name: c.name + "/" + name, Component: c.name, Kind: kind, Tool: c.tool, Dir: c.dir,
		Inputs:  c.inputs(),
		Env:     map[string]string{},
		Timeout: c.timeout(name),
	}
}

// ignored is never an input: what tools leave behind, and what belongs to the checkout and not to the release.
var ignored = []string{"!**/node_modules/**", "!**/.venv/**", "!**/__pycache__/**", "!**/.git/**", "!**/.mypy_cache/**",
	"!**/.pytest_cache/**", "!**/.ruff_cache/**", "!**/.hypothesis/**", "!**/.pipeline/**", "!**/*.egg-info/**", "!**/*.tsbuildinfo"}

func (c *component) inputs() []string {
	in := []string{path.Join(c.dir, "**")}
	for _, extra := range c.config.Inputs {
		at := path.Join(c.dir, extra)
		if info, err := fs.Stat(c.app, at); err == nil && info.IsDir() {
			at = path.Join(at, "**")
		}
		in = append(in, at)
	}
	return append(in, ignored...)
}

func (c *component) timeout(step string) time.Duration {
	if t, ok := c.config.Timeouts[step]; ok {
		return t
	}
	return DefaultTimeout
}

// add appends the step unless the configuration turns it off; a command there replaces run.
func (c *component) add(steps []*Step, kind Kind, suffix string, run [][]string, reports ...Report) []*Step {
	s := c.step(kind, suffix)
	s.Run, s.Reports = run, reports
	if own, ok := c.config.Commands[strings.TrimPrefix(s.Name, c.name+"/")]; ok {
		s.Run, s.Reports = split(own), nil
	}
	if len(s.Run) == 0 {
		return steps
	}
	if kind == Integration {
		s.Services = c.services()
	}
	return append(steps, s)
}

func (c *component) services() []Service {
	var all []Service
	for _, name := range slices.Sorted(maps.Keys(c.root.Services)) {
		s := c.root.Services[name]
		all = append(all, Service{Kind: ServiceKind(name), Version: s.Version, Env: s.Env})
	}
	return all
}

// has says whether a file is there, relative to the component.
func (c *component) has(name string) bool {
	_, err := fs.Stat(c.app, path.Join(c.dir, name))
	return err == nil
}

// first returns the first of the files that is there, or "".
func (c *component) first(names ...string) string {
	for _, n := range names {
		if c.has(n) {
			return n
		}
	}
	return ""
}

// split makes a command of a configured line. A line that needs a shell gets one.
func split(line string) [][]string {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	if strings.ContainsAny(line, "|&;<>()$`\\\"'*?[#~=%\n") {
		return [][]string{{"sh", "-c", line}}
	}
	return [][]string{strings.Fields(line)}
}
