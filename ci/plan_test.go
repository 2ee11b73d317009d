package ci

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// shown is a plan as a reader would write it down: "name: command; command".
func shown(p *Plan) []string {
	var lines []string
	for _, s := range p.Steps {
		var commands []string
		for _, c := range s.Run {
			commands = append(commands, strings.Join(c, " "))
		}
		lines = append(lines, s.Name+": "+strings.Join(commands, "; "))
	}
	return lines
}

func off() *bool { no := false; return &no }

func nodeApp(path string) *config.Config {
	return &config.Config{Components: map[string]config.Component{"web": {Path: path, Runtimes: []config.Runtime{config.Node}}},
		Checks: config.Checks{Secrets: off()}}
}

func pythonApp(path string) *config.Config {
	return &config.Config{Components: map[string]config.Component{"api": {Path: path, Runtimes: []config.Runtime{config.Python}}},
		Checks: config.Checks{Secrets: off()}}
}

func TestStepsComeFromTheApplicationsOwnFiles(t *testing.T) {
	tests := map[string]struct {
		config *config.Config
		files  map[string]string
		want   []string
	}{
		"a Node package runs its own scripts and asks Jest for a report": {
			nodeApp("web"),
			map[string]string{"web/package-lock.json": "{}", "web/package.json": `{"scripts":{"lint":"eslint .","typecheck":"tsc --noEmit",
				"test":"jest","test:property":"jest --config p.js","build":"vite build"}}`},
			[]string{"web/install: npm ci --no-audit --no-fund", "web/lint: npm run lint", "web/typecheck: npm run typecheck",
				"web/unit: npm run test -- --json --outputFile=.pipeline-unit.json",
				"web/property: npm run test:property -- --json --outputFile=.pipeline-property.json", "web/build: npm run build"},
		},
		"what npm create vite writes is checked by its build": {
			nodeApp("."),
			map[string]string{"package-lock.json": "{}", "tsconfig.json": "{}", "package.json": `{"scripts":{"lint":"eslint .","build":"tsc -b && vite build"},
				"devDependencies":{"typescript":"~6.0.3"}}`},
			[]string{"web/install: npm ci --no-audit --no-fund", "web/lint: npm run lint", "web/build: npm run build"},
		},
		"npm init's placeholder is no test": {
			nodeApp("."),
			map[string]string{"package-lock.json": "{}", "package.json": `{"scripts":{"test":"echo \"Error: no test specified\" && exit 1"}}`},
			[]string{"web/install: npm ci --no-audit --no-fund", "web/build: "},
		},
		"a pnpm lock file is installed by pnpm, and Vitest is asked for JUnit": {
			nodeApp("."),
			map[string]string{"pnpm-lock.yaml": "", "package.json": `{"scripts":{"test":"vitest"}}`},
			[]string{"web/install: pnpm install --frozen-lockfile",
				"web/unit: pnpm run test --run --reporter=default --reporter=junit --outputFile=.pipeline-unit.xml", "web/build: "},
		},
		"Node's own test runner is asked for JUnit unless it is given files": {
			nodeApp("."),
			map[string]string{"package-lock.json": "{}", "package.json": `{"scripts":{"test":"node --test","test:property":"node --test props/"}}`},
			[]string{"web/install: npm ci --no-audit --no-fund",
				"web/unit: npm run test -- --test-reporter=spec --test-reporter-destination=stdout --test-reporter=junit --test-reporter-destination=.pipeline-unit.xml",
				"web/property: npm run test:property", "web/build: "},
		},
		"a Python package with tests by kind, Ruff, mypy and a wheel": {
			pythonApp("api"),
			map[string]string{
				"api/pyproject.toml":        "[build-system]\nrequires=['hatchling>=1.27']\n[project]\nname='shop'\n[tool.ruff]\n[tool.mypy]\nfiles=['src']",
				"api/requirements-dev.lock": "fastapi==0.1 \\\n    --hash=sha256:00\nhatchling==1.33.0\npytest==9.2.0\nmypy==2.4.1\n",
				"api/src/shop/__init__.py":  "", "api/tests/unit/test_a.py": "", "api/tests/property/test_p.py": "", "api/tests/integration/test_i.py": ""},
			[]string{"api/install: python3 -m venv .venv; sh -c { .venv/bin/python -m pip install --no-input --disable-pip-version-check --quiet --target .venv/.uv uv==0.13.8 && " +
				".venv/.uv/bin/uv pip install --python .venv/bin/python --compile-bytecode --requirement requirements-dev.lock && rm -r .venv/.uv; } || " +
				".venv/bin/python -m pip install --no-input --disable-pip-version-check --requirement requirements-dev.lock",
				"api/lint: .venv/bin/python -m ruff check .", "api/typecheck: .venv/bin/python -m mypy",
				"api/unit: .venv/bin/python -m pytest --junitxml=.pipeline-unit.xml tests/unit",
				"api/property: .venv/bin/python -m pytest --junitxml=.pipeline-property.xml tests/property",
				"api/integration: .venv/bin/python -m pytest --junitxml=.pipeline-integration.xml tests/integration",
				"api/build: .venv/bin/python -m pip --no-input --disable-pip-version-check wheel --no-deps --wheel-dir dist --no-build-isolation .; " +
					".venv/bin/python -m pip --no-input --disable-pip-version-check install --no-deps --no-index --force-reinstall --find-links dist shop"},
		},
		"a Python script with a requirements file is compiled": {
			pythonApp("."),
			map[string]string{"requirements.txt": "fastapi==0.1\npytest>=9\n", "main.py": "", "tests/integration/test_i.py": ""},
			[]string{"api/install: python3 -m venv .venv; .venv/bin/python -m pip install --no-input --disable-pip-version-check --requirement requirements.txt",
				"api/unit: .venv/bin/python -m pytest --junitxml=.pipeline-unit.xml --ignore=tests/integration",
				"api/integration: .venv/bin/python -m pytest --junitxml=.pipeline-integration.xml tests/integration",
				`api/build: .venv/bin/python -m compileall -q -x (^|/)(\.venv|node_modules)/ .`},
		},
		"a package of both has one install and tells its steps apart": {
			&config.Config{Checks: config.Checks{Secrets: off()}, Components: map[string]config.Component{"app": {Path: ".", Runtimes: []config.Runtime{config.Node, config.Python}}}},
			map[string]string{"package-lock.json": "{}", "package.json": `{"scripts":{"test":"jest","lint":"eslint ."}}`, "requirements.txt": "pytest==9\npylint==4\n", "pyproject.toml": "[tool.pylint]"},
			[]string{"app/install: npm ci --no-audit --no-fund; python3 -m venv .venv; .venv/bin/python -m pip install --no-input --disable-pip-version-check --requirement requirements.txt",
				"app/lint-node: npm run lint", "app/unit-node: npm run test -- --json --outputFile=.pipeline-unit.json",
				"app/lint-python: .venv/bin/python -m pylint .", "app/unit-python: .venv/bin/python -m pytest --junitxml=.pipeline-unit.xml",
				`app/build: .venv/bin/python -m compileall -q -x (^|/)(\.venv|node_modules)/ .`},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			plan, err := NewPlan(test.config, tree(test.files), Images{})
			require.NoError(t, err)
			assert.Equal(t, test.want, shown(plan))
		})
	}
}

func TestConfiguredCommandsReplaceAndTurnOff(t *testing.T) {
	cfg := nodeApp(".")
	web := cfg.Components["web"]
	web.Commands = map[string]string{"unit": "npm run ci -- --coverage | tee log", "lint": "", "build": "make all"}
	cfg.Components["web"] = web
	plan, err := NewPlan(cfg, tree(map[string]string{"package-lock.json": "{}", "package.json": `{"scripts":{"lint":"eslint .","test":"jest"}}`}), Images{})
	require.NoError(t, err)
	assert.Equal(t, []string{"web/install: npm ci --no-audit --no-fund", "web/unit: sh -c npm run ci -- --coverage | tee log", "web/build: make all"}, shown(plan))
}

func TestIntegrationStepsGetTheServices(t *testing.T) {
	cfg := pythonApp(".")
	cfg.Services = map[string]config.Service{"redis": {Version: "8", Env: "REDIS_URL"}, "postgres": {Version: "17", Env: "DATABASE_URL"}}
	plan, err := NewPlan(cfg, tree(map[string]string{"requirements.txt": "pytest==9", "tests/integration/test_i.py": ""}), Images{})
	require.NoError(t, err)
	for _, s := range plan.Steps {
		if s.Kind == Integration {
			assert.Equal(t, []Service{{Postgres, "17", "DATABASE_URL"}, {Redis, "8", "REDIS_URL"}}, s.Services)
		} else {
			assert.Empty(t, s.Services, s.Name)
		}
	}
}

func TestEveryStepContinuesFromInstallAndOnlyInstallIgnoresTheSources(t *testing.T) {
	plan, err := NewPlan(nodeApp("web"), tree(map[string]string{"web/package-lock.json": "{}", "web/package.json": `{"scripts":{"test":"jest"}}`}), Images{Node: "mirror/node:24"})
	require.NoError(t, err)
	install := plan.Steps[0]
	assert.NotContains(t, install.Inputs, "web/**")
	for _, s := range plan.Steps[1:] {
		assert.Same(t, install, s.After)
		assert.Contains(t, s.Inputs, "web/**")
		assert.Equal(t, "mirror/node:24", s.Tool.Image)
	}
	build, ok := plan.BuildOf("web")
	require.True(t, ok)
	assert.Equal(t, "web/build", build.Name)
}

func TestAPlanThatCannotBeMadeNamesTheFileToChange(t *testing.T) {
	tests := map[string]struct {
		config *config.Config
		files  map[string]string
		want   string
	}{
		"no package.json":       {nodeApp("web"), nil, "component web: web/package.json: no such file"},
		"no Node lock file":     {nodeApp("web"), map[string]string{"web/package.json": "{}"}, "web/package.json: no lock file beside it"},
		"broken package.json":   {nodeApp("web"), map[string]string{"web/package.json": "{\n  \"scripts\": {,}\n}"}, "web/package.json:2:"},
		"scripts of wrong type": {nodeApp("web"), map[string]string{"web/package.json": "{\n  \"scripts\": 3\n}"}, "web/package.json:2:"},
		"no Python lock file":   {pythonApp("api"), map[string]string{"api/main.py": ""}, "api: no requirements.lock or requirements.txt"},
		"broken pyproject.toml": {pythonApp("api"), map[string]string{"api/pyproject.toml": "[project\n", "api/requirements.txt": ""}, "api/pyproject.toml:2:9: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := NewPlan(test.config, tree(test.files), Images{})
			require.ErrorContains(t, err, test.want)
		})
	}
}
