package config

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/metaextract/pipeline/internal/config/survey"
)

// look fills in the defaults that are found in the tree.
func (c *Config) look(fsys fs.FS) {
	for name, component := range c.Components {
		if len(component.Runtimes) == 0 && !outside(component.Path) {
			if survey.HasNode(fsys, component.Path) {
				component.Runtimes = append(component.Runtimes, Node)
			}
			if survey.HasPython(fsys, component.Path) {
				component.Runtimes = append(component.Runtimes, Python)
			}
			c.Components[name] = component
		}
	}
	if c.Database != nil && c.Database.Format == "" && !outside(c.Database.Migrations) {
		c.Database.Format = survey.MigrationFormat(fsys, c.Database.Migrations)
	}
}

// Check compares the configuration with the application's tree: that the directories and files it names are there, and
// that each component has what its runtimes install from. The problems are in the order of the file.
func (c *Config) Check(fsys fs.FS) []Problem {
	where := c.places
	if where == nil { // built by hand
		where = &places{file: FileName, values: map[string]place{"": {}}}
	}
	x := treeChecker{crossChecker{c, &reporter{written: where}}, fsys}
	for _, name := range slices.Sorted(maps.Keys(c.Components)) {
		x.component("components."+name, c.Components[name])
	}
	if c.Database != nil {
		x.migrations(*c.Database)
	}
	for i, q := range c.Rehearsal.Requests {
		if q.File == nil {
			continue
		}
		at := fmt.Sprintf("rehearsal.requests[%d].file.path", i)
		if info, err := x.stat(q.File.Path); err != nil {
			x.at(at, quoted(q.File.Path)+" does not exist", "commit the file, or correct its path (relative to pipeline.yaml)")
		} else if info.IsDir() {
			x.at(at, quoted(q.File.Path)+" is a directory", "name the file to upload")
		}
	}
	sortProblems(x.problems)
	return x.problems
}

type treeChecker struct {
	crossChecker
	tree fs.FS
}

// stat looks at a cleaned path. What leaves the tree was reported when it was parsed.
func (x treeChecker) stat(name string) (fs.FileInfo, error) {
	return fs.Stat(x.tree, path.Clean(name))
}

// missing says why a directory is not one, "" where it is.
func (x treeChecker) missing(dir string) string {
	info, err := x.stat(dir)
	switch {
	case err != nil:
		return fmt.Sprintf("directory %s does not exist", quoted(dir))
	case !info.IsDir():
		return fmt.Sprintf("%s is a file, not a directory", quoted(dir))
	default:
		return ""
	}
}

func (x treeChecker) component(at string, c Component) {
	if why := x.missing(c.Path); why != "" {
		hint := "correct the path"
		if _, written := x.written.values[at+".path"]; !written {
			hint = `add its path ("." for the root); without one it is the component's name`
		}
		x.at(at+".path", why, hint)
		return
	}
	if len(c.Runtimes) == 0 {
		x.at(at+".runtimes", fmt.Sprintf("found neither package.json (node) nor pyproject.toml or a requirements file (python) in %s", quoted(c.Path)),
			"correct the component's path, or commit the file")
	}
	for _, runtime := range c.Runtimes {
		switch runtime {
		case Node:
			x.node(at, c)
		case Python:
			x.python(at, c)
		}
	}
	for i, in := range c.Inputs {
		full := path.Join(c.Path, in)
		if outside(full) {
			continue
		}
		found, err := doublestar.Glob(x.tree, full)
		if err == nil && len(found) == 0 {
			x.at(fmt.Sprintf("%s.inputs[%d]", at, i), fmt.Sprintf("%s does not exist", quoted(full)), "correct it: inputs are relative to the component's path")
		}
	}
	for key, names := range map[string][]string{"commands": slices.Collect(maps.Keys(c.Commands)), "timeouts": slices.Collect(maps.Keys(c.Timeouts))} {
		for _, step := range names {
			x.step(at+"."+key+"."+step, step, c)
		}
	}
}

// step checks that the component has a step of this name.
func (x treeChecker) step(at, step string, c Component) {
	if !slices.Contains(stepNames, step) || len(c.Runtimes) == 0 {
		return
	}
	kind, runtime, suffixed := strings.Cut(step, "-")
	mixed := len(c.Runtimes) > 1
	switch {
	case suffixed && !mixed:
		x.atKey(at, "the component has one runtime only", fmt.Sprintf("write %s", kind))
	case !suffixed && mixed && slices.Contains(stepNames, step+"-"+string(Node)):
		x.atKey(at, "the component has two runtimes, and so two of these steps", fmt.Sprintf("write %s-node or %s-python", kind, kind))
	case suffixed && !slices.Contains(c.Runtimes, Runtime(runtime)):
		x.atKey(at, fmt.Sprintf("the component does not have the runtime %s", runtime), fmt.Sprintf("write %s", kind))
	}
}

func (x treeChecker) node(at string, c Component) {
	runtimes := at + ".runtimes"
	n, err := survey.ReadNode(x.tree, c.Path)
	switch {
	case err != nil:
		x.at(runtimes, err.Error(), "correct the file")
	case n == nil:
		x.at(runtimes, fmt.Sprintf("%s does not exist, and runtime node needs it", path.Join(c.Path, survey.PackageJSON)),
			"correct the component's path, or remove node from its runtimes")
	case n.Lock == "":
		x.at(runtimes, fmt.Sprintf("no lock file beside %s, and runtime node needs one so that every run installs the same versions", path.Join(c.Path, survey.PackageJSON)),
			fmt.Sprintf("run npm install in %s and commit package-lock.json (pnpm-lock.yaml and yarn.lock are read too)", quoted(c.Path)))
	case c.Serve != nil && len(c.Serve.Command) > 0:
		if script := runsScript(c.Serve.Command); script != "" && n.Scripts[script] == "" {
			x.at(at+".serve.command", fmt.Sprintf("%s has no script %s", path.Join(c.Path, survey.PackageJSON), quoted(script)),
				didYouMean(script, slices.Sorted(maps.Keys(n.Scripts)), "its scripts are"))
		}
	}
}

// runsScript returns the package.json script that a command runs, "" where it runs something else.
func runsScript(command []string) string {
	if len(command) >= 3 && slices.Contains([]string{"npm", "pnpm", "yarn"}, command[0]) && command[1] == "run" && !strings.HasPrefix(command[2], "-") {
		return command[2]
	}
	return ""
}

func (x treeChecker) python(at string, c Component) {
	if len(survey.RequirementFiles(x.tree, c.Path)) > 0 {
		return
	}
	message := fmt.Sprintf("neither pyproject.toml nor a requirements file is in %s, and runtime python needs them", quoted(c.Path))
	hint := "correct the component's path, or remove python from its runtimes"
	if survey.HasPython(x.tree, c.Path) {
		message = fmt.Sprintf("no requirements.txt or requirements.lock beside %s, and runtime python needs one so that every run installs the same versions", path.Join(c.Path, survey.PyProject))
		hint = "write it with pinned versions (uv export --output-file requirements.lock, or pip-compile --generate-hashes) and commit it"
	}
	x.at(at+".runtimes", message, hint)
}

func (x treeChecker) migrations(db Database) {
	const at = "database.migrations"
	if why := x.missing(db.Migrations); why != "" {
		x.at(at, why, "correct the path, or remove database if the application has none")
		return
	}
	found := survey.MigrationFormat(x.tree, db.Migrations)
	switch {
	case db.Format == Drizzle && found != Drizzle:
		x.at(at, fmt.Sprintf("%s does not exist, and the format drizzle needs it", path.Join(db.Migrations, survey.DrizzleJournal)),
			"run npx drizzle-kit generate and commit the folder")
	case db.Format != Drizzle && found == "":
		x.at(at, fmt.Sprintf("no migration is in %s", quoted(db.Migrations)),
			"name them 001_create_users.up.sql and 001_create_users.down.sql, or 001_create_users.sql, or point at a drizzle-kit folder")
	}
	if db.Seed != "" {
		if _, err := fs.Stat(x.tree, db.Seed); err != nil {
			x.at("database.seed", fmt.Sprintf("%s does not exist", quoted(db.Seed)), "correct the path, or remove the line")
		}
	}
}
