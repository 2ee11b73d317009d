package config_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

// tree makes a file system of file names and contents.
func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i+1 < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

const (
	packageJSON = `{"name": "web", "scripts": {"start": "node server.js", "build": "vite build"}}`
	journal     = `{"dialect": "postgresql", "entries": []}`
)

func TestCheckAgainstTheTree(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		tree fstest.MapFS
		want string
	}{
		{"everything is there", head + "  web: {inputs: [../shared, ../shared/*.json], serve: {command: [npm, run, start]}}\ndatabase: {migrations: db}\nrehearsal: {requests: [{path: /, method: POST, file: {path: web/a.jpg}}]}\n",
			tree("web/package.json", packageJSON, "web/package-lock.json", "{}", "web/a.jpg", "", "shared/a.json", "", "db/meta/_journal.json", journal), ``},
		{"a directory is missing", head + "  web: {path: wbe, runtimes: [node]}\n", tree("web/package.json", packageJSON),
			`pipeline.yaml:4:15: components.web.path: directory "wbe" does not exist; correct the path`},
		{"a directory is missing and its path is the default", head + "  web: {runtimes: [node]}\n", tree("package.json", packageJSON),
			`pipeline.yaml:4:3: components.web.path: directory "web" does not exist; add its path ("." for the root); without one it is the component's name`},
		{"a directory is a file", head + "  web: {path: web}\n", tree("web", ""),
			`pipeline.yaml:4:15: components.web.path: "web" is a file, not a directory; correct the path`},
		{"no runtime is found", head + "  web: {path: web}\n", tree("web/README.md", ""),
			`pipeline.yaml:4:3: components.web.runtimes: found neither package.json (node) nor pyproject.toml or a requirements file (python) in "web"; correct the component's path, or commit the file`},
		{"node without package.json", head + "  web: {runtimes: [node]}\n", tree("web/main.py", ""),
			`pipeline.yaml:4:19: components.web.runtimes: web/package.json does not exist, and runtime node needs it; correct the component's path, or remove node from its runtimes`},
		{"node without lock file", head + "  web: {path: web}\n", tree("web/package.json", packageJSON),
			`pipeline.yaml:4:3: components.web.runtimes: no lock file beside web/package.json, and runtime node needs one so that every run installs the same versions; run npm install in "web" and commit package-lock.json (pnpm-lock.yaml and yarn.lock are read too)`},
		{"a package.json that is none", head + "  web: {path: web}\n", tree("web/package.json", "{"),
			`pipeline.yaml:4:3: components.web.runtimes: web/package.json is not valid: unexpected end of JSON input; correct the file`},
		{"python without anything", head + "  api: {path: api, runtimes: [python]}\n", tree("api/main.py", ""),
			`pipeline.yaml:4:30: components.api.runtimes: neither pyproject.toml nor a requirements file is in "api", and runtime python needs them; correct the component's path, or remove python from its runtimes`},
		{"python without requirements", head + "  api: {path: api}\n", tree("api/pyproject.toml", "[project]\nname = 'api'\n"),
			`pipeline.yaml:4:3: components.api.runtimes: no requirements.txt or requirements.lock beside api/pyproject.toml, and runtime python needs one so that every run installs the same versions; write it with pinned versions (uv export --output-file requirements.lock, or pip-compile --generate-hashes) and commit it`},
		{"an input is missing", head + "  web: {inputs: [../shared]}\n", tree("web/package.json", packageJSON, "web/yarn.lock", ""),
			`pipeline.yaml:4:18: components.web.inputs[0]: "shared" does not exist; correct it: inputs are relative to the component's path`},
		{"a script is missing", head + "  web: {serve: {command: [npm, run, strat]}}\n", tree("web/package.json", packageJSON, "web/pnpm-lock.yaml", ""),
			`pipeline.yaml:4:26: components.web.serve.command: web/package.json has no script "strat"; did you mean "start"?`},
		{"migrations are missing", base + "database: {migrations: db}\n", tree("web/package.json", packageJSON, "web/yarn.lock", ""),
			`pipeline.yaml:5:24: database.migrations: directory "db" does not exist; correct the path, or remove database if the application has none`},
		{"migrations of no known name", base + "database:\n  migrations: db\n", tree("web/package.json", packageJSON, "web/yarn.lock", "", "db/users.sql", ""),
			`pipeline.yaml:6:15: database.migrations: no migration is in "db"; name them 001_create_users.up.sql and 001_create_users.down.sql, or 001_create_users.sql, or point at a drizzle-kit folder`},
		{"a seed that is not there", base + "database: {migrations: db, seed: seed.sql}\n", tree("web/package.json", packageJSON, "web/yarn.lock", "", "db/001_users.sql", ""),
			`pipeline.yaml:5:34: database.seed: "seed.sql" does not exist; correct the path, or remove the line`},
		{"migrations of another format", base + "database: {migrations: db, format: drizzle}\n", tree("web/package.json", packageJSON, "web/yarn.lock", "", "db/001_users.up.sql", ""),
			`pipeline.yaml:5:24: database.migrations: db/meta/_journal.json does not exist, and the format drizzle needs it; run npx drizzle-kit generate and commit the folder`},
		{"a request's file is missing", base + "rehearsal: {requests: [{path: /, method: POST, file: {path: web/a.jpg}}]}\n", tree("web/package.json", packageJSON, "web/yarn.lock", ""),
			`pipeline.yaml:5:61: rehearsal.requests[0].file.path: "web/a.jpg" does not exist; commit the file, or correct its path (relative to pipeline.yaml)`},
		{"a request's file is a directory", base + "rehearsal: {requests: [{path: /, method: POST, file: {path: web}}]}\n", tree("web/package.json", packageJSON, "web/yarn.lock", ""),
			`pipeline.yaml:5:61: rehearsal.requests[0].file.path: "web" is a directory; name the file to upload`},
		{"a step of the other runtime", head + "  web: {commands: {unit-node: x, unit-python: y}}\n", tree("web/package.json", packageJSON, "web/yarn.lock", ""),
			`pipeline.yaml:4:20: components.web.commands.unit-node: the component has one runtime only; write unit
pipeline.yaml:4:34: components.web.commands.unit-python: the component has one runtime only; write unit`},
		{"a step of both runtimes", head + "  web: {timeouts: {unit: 5m, build: 1m, lint-python: 1m}}\n", tree("web/package.json", packageJSON, "web/yarn.lock", "", "web/requirements.txt", ""),
			`pipeline.yaml:4:20: components.web.timeouts.unit: the component has two runtimes, and so two of these steps; write unit-node or unit-python`},
		{"mistakes in the file and in the tree come together", head + "  web: {path: wbe, runtimes: [node]}\nchecks: {secret: true}\n", tree("web/package.json", packageJSON),
			`pipeline.yaml:4:15: components.web.path: directory "wbe" does not exist; correct the path
pipeline.yaml:5:10: checks.secret: unknown key; did you mean "secrets"?`},
		{"what leaves the tree is reported once", head + "  web: {path: ../web, runtimes: [node]}\n", tree(),
			`pipeline.yaml:4:15: components.web.path: ` + leaves + `; name a directory below pipeline.yaml`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.tree["pipeline.yaml"] = &fstest.MapFile{Data: []byte(c.text)}
			_, err := config.Validate(c.tree)
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, c.want)
		})
	}
}

func TestLoadLooksForWhatTheFileLeavesOut(t *testing.T) {
	c, err := config.Load(tree("pipeline.yaml", head+"  web: {path: .}\n  api: {runtimes: [python]}\n  both: {}\ndatabase: {}\n",
		"package.json", "{}", "both/package.json", "{}", "both/requirements.txt", "", "migrations/001_a.up.sql", ""))
	require.NoError(t, err)
	assert.Equal(t, []config.Runtime{config.Node}, c.Components["web"].Runtimes)
	assert.Equal(t, []config.Runtime{config.Python}, c.Components["api"].Runtimes)
	assert.Equal(t, []config.Runtime{config.Node, config.Python}, c.Components["both"].Runtimes)
	assert.Equal(t, config.SQL, c.Database.Format)
}

func TestLoadNeedsNothingButTheFile(t *testing.T) {
	c, err := config.Load(tree("pipeline.yaml", base+"database: {}\n"))
	require.NoError(t, err)
	assert.Empty(t, c.Components["web"].Runtimes)
	assert.Empty(t, c.Database.Format)
}

func TestLoadSaysWhatToDoWithoutFile(t *testing.T) {
	_, err := config.Load(tree("README.md", ""))
	assert.EqualError(t, err, `read pipeline.yaml at the application's root: file does not exist; run "pipeline init" to write one`)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = config.Load(tree("pipeline.yml", base))
	assert.EqualError(t, err, `read pipeline.yaml at the application's root: file does not exist; rename pipeline.yml`)
	_, err = config.Load(tree("pipeline.yaml/x", ""))
	assert.ErrorContains(t, err, "read pipeline.yaml")
}

func TestCheckOfAConfigurationBuiltByHand(t *testing.T) {
	c := &config.Config{Components: map[string]config.Component{"web": {Path: "web", Runtimes: []config.Runtime{config.Node}}}}
	problems := c.Check(tree())
	require.Len(t, problems, 1)
	assert.Equal(t, `pipeline.yaml: components.web.path: directory "web" does not exist; add its path ("." for the root); without one it is the component's name`, problems[0].Error())
}

// samples are the applications that the whole project is tested with.
var samples = []string{"metaextract", "single-package"}

func TestTheSampleApplicationsAreValid(t *testing.T) {
	for _, name := range samples {
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(os.DirFS("../../testdata/" + name))
			require.NoError(t, err)
			for _, p := range c.Check(os.DirFS("../../testdata/" + name)) {
				assert.NoError(t, p)
			}
		})
	}
}

// unreadable is a file system whose every read fails.
type unreadable struct{}

func (unreadable) Open(string) (fs.File, error) { return nil, errors.New("disk on fire") }

func TestLoadPassesOnWhatTheFileSystemSays(t *testing.T) {
	_, err := config.Load(unreadable{})
	assert.EqualError(t, err, "read pipeline.yaml: disk on fire")
	_, _, err = config.Init(unreadable{}, "shop")
	assert.ErrorContains(t, err, "disk on fire")
	assert.False(t, strings.Contains(err.Error(), "package.json"))
}
