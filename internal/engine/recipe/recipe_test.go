package recipe

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/config"
)

// planned is the recipe of the component "app" of a real plan.
func planned(t *testing.T, c config.Component, files fstest.MapFS) *Recipe {
	t.Helper()
	off := false
	cfg := &config.Config{Name: "shop", Components: map[string]config.Component{"app": c}, Checks: config.Checks{Secrets: &off}}
	plan, err := ci.NewPlan(cfg, files, ci.Images{})
	require.NoError(t, err)
	build, ok := plan.BuildOf("app")
	require.True(t, ok)
	r, err := Of(c, build, files)
	require.NoError(t, err)
	return r
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestAPythonServiceIsItsWheelAndItsRunTimeRequirements(t *testing.T) {
	r := planned(t, config.Component{
		Path: "api", Runtimes: []config.Runtime{config.Python}, Packages: []string{"ffmpeg"},
		Serve: &config.Serve{Command: []string{"python", "-m", "uvicorn", "--host=${HOST}", "--port", "$PORT", "$PORTAL"}},
	}, fstest.MapFS{
		"api/pyproject.toml":        file("[project]\nname = \"api\"\n[build-system]\nrequires = [\"hatchling\"]\n"),
		"api/requirements.lock":     file("fastapi==1\n"),
		"api/requirements-dev.lock": file("fastapi==1\nhatchling==1\npytest==1\n"),
	})
	assert.Equal(t, [][]string{
		{"python3", "-m", "venv", ".venv"},
		{".venv/bin/python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--requirement", "requirements.lock"},
	}, r.Install)
	assert.Equal(t, "dist", r.Wheel)
	assert.Equal(t, []string{".venv"}, r.Installed)
	assert.Equal(t, []string{"ffmpeg"}, r.Packages)
	assert.Equal(t, []string{"python", "-m", "uvicorn", "--host=0.0.0.0", "--port", "8080", "$PORTAL"}, r.Command)
	assert.Equal(t, Port, r.Port)
}

func TestHashedRequirementsAreReplacedInTheLineThatInstallsThem(t *testing.T) {
	const hashed = "fastapi==1 --hash=sha256:00\n"
	r := planned(t, config.Component{
		Path: "api", Runtimes: []config.Runtime{config.Python}, Serve: &config.Serve{Command: []string{"python", "-m", "api"}},
	}, fstest.MapFS{
		"api/requirements.txt": file(hashed), "api/requirements-dev.txt": file(hashed), "api/main.py": file(""),
	})
	line := strings.Join(r.Install[len(r.Install)-1], " ")
	assert.Contains(t, line, "--requirement requirements.txt")
	assert.NotContains(t, line, "requirements-dev.txt")
	assert.NotEmpty(t, r.Settings)
}

func TestANodeServerLeavesItsDevelopmentDependenciesOut(t *testing.T) {
	for lock, want := range map[string][]string{
		"package-lock.json": {"npm", "ci", "--no-audit", "--no-fund", "--omit=dev"},
		"pnpm-lock.yaml":    {"pnpm", "install", "--frozen-lockfile", "--prod"},
		"yarn.lock":         {"yarn", "install", "--frozen-lockfile", "--non-interactive", "--production"},
	} {
		r := planned(t, config.Component{
			Path: ".", Runtimes: []config.Runtime{config.Node}, Serve: &config.Serve{Command: []string{"node", "server.js"}, Port: 3000},
		}, fstest.MapFS{"package.json": file("{}"), lock: file("")})
		assert.Equal(t, [][]string{want}, r.Install)
		assert.Equal(t, []string{"node_modules"}, r.Installed)
		assert.Empty(t, r.Wheel, "the sources go in")
		assert.Equal(t, 3000, r.Port)
		assert.Equal(t, "3000", r.Env["PORT"])
		assert.Equal(t, "production", r.Env["NODE_ENV"])
	}
}

func TestANodeServerThatCallsPythonHasBoth(t *testing.T) {
	r := planned(t, config.Component{
		Path: ".", Runtimes: []config.Runtime{config.Node, config.Python}, Packages: []string{"libmagic1"},
		Serve: &config.Serve{Command: []string{"node", "server.js"}},
	}, fstest.MapFS{
		"package.json": file("{}"), "package-lock.json": file(""),
		"requirements.txt": file("idna==1\n"), "requirements-dev.txt": file("-r requirements.txt\npytest==1\n"),
	})
	assert.Equal(t, []string{"node_modules", ".venv"}, r.Installed)
	assert.Equal(t, []string{"python3", "libmagic1"}, r.Packages)
	assert.Equal(t, "requirements.txt", r.Install[2][len(r.Install[2])-1])
	assert.NotContains(t, r.Install[2], "requirements-dev.txt")
}

func TestStaticFilesNeedNothingElse(t *testing.T) {
	r := planned(t, config.Component{
		Path: "web", Runtimes: []config.Runtime{config.Node}, Packages: []string{"git"}, Serve: &config.Serve{Static: "dist"},
	}, fstest.MapFS{"web/package.json": file(`{"scripts":{"build":"vite build"}}`), "web/package-lock.json": file("")})
	assert.Equal(t, &Recipe{
		Dir: "web", Static: "dist", Port: Port,
		Env: map[string]string{"HOST": "0.0.0.0", "PORT": "8080", "HOME": "/tmp", "ROOT": "/app/web/dist"},
	}, r)
}

func TestAnInstallCommandOfItsOwnIsTakenAsItIs(t *testing.T) {
	r := planned(t, config.Component{
		Path: ".", Runtimes: []config.Runtime{config.Node}, Serve: &config.Serve{Command: []string{"node", "server.js"}},
		Commands: map[string]string{"install": "./install.sh"},
	}, fstest.MapFS{"package.json": file("{}"), "package-lock.json": file("")})
	assert.Equal(t, [][]string{{"./install.sh"}}, r.Install)
}

func TestWhatIsNotServedHasNoImage(t *testing.T) {
	_, err := Of(config.Component{Path: "."}, ci.Step{Name: "app/build", After: &ci.Step{}}, fstest.MapFS{})
	require.ErrorContains(t, err, "serve")
}

func TestExpand(t *testing.T) {
	env := map[string]string{"HOST": "h", "PORT": "8"}
	for in, want := range map[string]string{
		"$HOST:$PORT": "h:8", "${HOST}:${PORT}": "h:8", "$PORTAL": "$PORTAL", "${PORTAL}": "${PORTAL}", "$": "$", "a$": "a$",
		"${PORT": "${PORT", "$$PORT": "$8", "$1PORT": "$1PORT", "": "",
	} {
		assert.Equal(t, []string{want}, Expand([]string{in}, env), in)
	}
}
