package ci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// nodePackage is a directory with a package.json.
type nodePackage struct {
	*component
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
	manager         packageManager
}

// packageManager installs from a lock file and runs scripts.
type packageManager struct {
	lock    string
	program string
	install []string
	setup   [][]string // on an image that has only npm
	cache   Cache
}

// packageManagers, by the lock file that tells of them.
var packageManagers = []packageManager{
	{"package-lock.json", "npm", []string{"ci", "--no-audit", "--no-fund"}, nil, Cache{Key: "npm", Env: "npm_config_cache"}},
	{"pnpm-lock.yaml", "pnpm", []string{"install", "--frozen-lockfile"}, [][]string{{"npm", "install", "--global", "pnpm@10"}},
		Cache{Key: "pnpm", Env: "npm_config_store_dir"}},
	{"yarn.lock", "yarn", []string{"install", "--frozen-lockfile", "--non-interactive"}, [][]string{{"npm", "install", "--global", "yarn@1"}},
		Cache{Key: "yarn", Env: "YARN_CACHE_FOLDER"}},
}

func newNodePackage(c *component) (*nodePackage, error) {
	n := &nodePackage{component: c}
	file := path.Join(c.dir, "package.json")
	data, err := fs.ReadFile(c.app, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no such file; a component with runtime node needs one, or correct its path in pipeline.yaml", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	if err := json.Unmarshal(data, n); err != nil {
		return nil, fmt.Errorf("%s: %w", position(file, data, err), err)
	}
	for _, m := range packageManagers {
		if c.has(m.lock) {
			n.manager = m
			return n, nil
		}
	}
	return nil, fmt.Errorf("%s: no lock file beside it (package-lock.json, pnpm-lock.yaml or yarn.lock); run npm install there and commit package-lock.json, so that every run installs the same versions", file)
}

// position is file:line:column of a JSON error.
func position(file string, data []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(-1)
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	} else if errors.As(err, &kind) {
		offset = kind.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return file
	}
	before := string(data[:offset])
	line := strings.Count(before, "\n") + 1
	return fmt.Sprintf("%s:%d:%d", file, line, len(before)-strings.LastIndexByte(before, '\n')-1)
}

func (n *nodePackage) install(s *Step) {
	for _, f := range []string{"package.json", n.manager.lock, ".npmrc", ".yarnrc", "pnpm-workspace.yaml", "patches/**"} {
		s.Inputs = append(s.Inputs, path.Join(n.dir, f))
	}
	s.Run = append(s.Run, append([]string{n.manager.program}, n.manager.install...))
	s.Caches = append(s.Caches, n.manager.cache)
	if n.manager.program != "npm" {
		n.tool.Programs = append(n.tool.Programs, n.manager.program)
		n.tool.Setup = append(n.tool.Setup, n.manager.setup...)
		s.Tool = n.tool
	}
}

// run calls the first of the scripts that package.json has, with arguments passed through to the tool.
func (n *nodePackage) run(scripts []string, args ...string) []string {
	for _, name := range scripts {
		if _, ok := n.Scripts[name]; !ok {
			continue
		}
		command := []string{n.manager.program, "run", name}
		if len(args) > 0 {
			if n.manager.program == "npm" {
				command = append(command, "--")
			}
			command = append(command, args...)
		}
		return command
	}
	return nil
}

func (n *nodePackage) script(names ...string) string {
	for _, name := range names {
		if body, ok := n.Scripts[name]; ok {
			return body
		}
	}
	return ""
}

func (n *nodePackage) depends(on string) bool {
	_, runtime := n.Dependencies[on]
	_, dev := n.DevDependencies[on]
	return runtime || dev
}

func (n *nodePackage) steps() []*Step {
	var steps []*Step
	steps = n.add(steps, Lint, "node", commands(n.lint()))
	steps = n.add(steps, Typecheck, "node", commands(n.typecheck()))
	for _, t := range []struct {
		kind    Kind
		scripts []string
	}{
		{Unit, []string{"test:unit", "test"}},
		{Property, []string{"test:property", "test:properties"}},
		{Integration, []string{"test:integration", "test:int"}},
	} {
		command, reports := n.test(t.kind, t.scripts)
		steps = n.add(steps, t.kind, "node", commands(command), reports...)
	}
	return steps
}

func commands(command []string) [][]string {
	if command == nil {
		return nil
	}
	return [][]string{command}
}

func (n *nodePackage) lint() []string {
	if command := n.run([]string{"lint"}); command != nil {
		return command
	}
	if n.depends("eslint") && n.first("eslint.config.js", "eslint.config.mjs", "eslint.config.ts") != "" {
		return []string{"node_modules/.bin/eslint", "."}
	}
	return nil
}

// typecheck leaves tsc out where the build script runs it anyway, as in what npm create vite writes.
func (n *nodePackage) typecheck() []string {
	if command := n.run([]string{"typecheck", "type-check", "check-types"}); command != nil {
		return command
	}
	if n.has("tsconfig.json") && n.depends("typescript") && !strings.Contains(n.Scripts["build"], "tsc") {
		return []string{"node_modules/.bin/tsc", "--noEmit"}
	}
	return nil
}

// nodeTest matches a call of Node's own test runner that names no files: after a name, flags would be the test's.
var nodeTest = regexp.MustCompile(`^node( --\S+)* --test( --\S+)*$`)

// test runs the application's own script and asks the test runner behind it for a report, where it is one that has it.
func (n *nodePackage) test(kind Kind, scripts []string) ([]string, []Report) {
	body := n.script(scripts...)
	if body == "" || strings.Contains(body, "no test specified") {
		return nil, nil
	}
	file := fmt.Sprintf(".pipeline-%s", kind)
	switch {
	case strings.Contains(body, "vitest"):
		return n.run(scripts, "--run", "--reporter=default", "--reporter=junit", "--outputFile="+file+".xml"),
			[]Report{{Format: JUnit, Path: file + ".xml"}}
	case nodeTest.MatchString(body):
		return n.run(scripts, "--test-reporter=spec", "--test-reporter-destination=stdout",
			"--test-reporter=junit", "--test-reporter-destination="+file+".xml"), []Report{{Format: JUnit, Path: file + ".xml"}}
	case strings.Contains(body, "jest"):
		return n.run(scripts, "--json", "--outputFile="+file+".json"), []Report{{Format: JestJSON, Path: file + ".json"}}
	default:
		return n.run(scripts), nil
	}
}

func (n *nodePackage) build() [][]string {
	return commands(n.run([]string{"build"}))
}
