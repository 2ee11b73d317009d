package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

// What `npm create vite` writes, and the shortest FastAPI application.
const (
	vitePackage = `{"name": "site", "private": true, "type": "module",
  "scripts": {"dev": "vite", "build": "tsc -b && vite build", "lint": "eslint .", "preview": "vite preview"},
  "dependencies": {"react": "^19.0.0"}, "devDependencies": {"vite": "^8.0.0"}}`
	viteConfig = "import { defineConfig } from 'vite'\nexport default defineConfig({ plugins: [] })\n"
	fastAPI    = "from fastapi import FastAPI\n\napp = FastAPI()\n\n@app.get('/api/items')\ndef items(): return []\n\n@app.get('/api/items/{id}')\ndef item(id: int): return id\n"
)

var repositories = []struct {
	name  string // of the golden file
	tree  fstest.MapFS
	notes []string
}{
	{"vite-and-fastapi", tree(
		"frontend/package.json", vitePackage, "frontend/package-lock.json", "{}", "frontend/vite.config.ts", viteConfig,
		"frontend/node_modules/x/package.json", "{}", "frontend/src/App.tsx", "fetch('/api/items')",
		"backend/requirements.txt", "fastapi[standard]==0.130.0\n", "backend/main.py", fastAPI,
		"backend/tests/test_main.py", "app = FastAPI()\n"), nil},
	{"vite-at-the-root", tree(
		"package.json", vitePackage, "pnpm-lock.yaml", "", "vite.config.js", "export default { build: { outDir: 'public_html' } }",
		"server/requirements.txt", "fastapi\nuvicorn\nasyncpg\nredis\n",
		"server/app/__init__.py", "", "server/app/main.py", "import os\nfrom fastapi import FastAPI\nfrom app.routers import items\napp = FastAPI()\napp.include_router(items.router, prefix=\"/v1\")\nurl = os.environ[\"PG_DSN\"]\n\n@app.get(\"/health\")\ndef health(): ...\n",
		"server/app/routers/items.py", "from fastapi import APIRouter\nrouter = APIRouter(prefix=\"/items\")\n\n@router.get(\"\")\ndef all(): ...\n\n@router.post(\"\")\ndef add(): ...\n",
		".git/refs/remotes/origin/HEAD", "ref: refs/remotes/origin/trunk\n"), nil},
	{"express-with-drizzle", tree(
		"package.json", `{"name": "shop", "scripts": {"start": "NODE_ENV=production node dist/index.js", "build": "vite build && esbuild server/index.ts"}, "dependencies": {"express": "5", "drizzle-orm": "1", "pg": "8", "ioredis": "5"}, "devDependencies": {"vite": "8", "drizzle-kit": "1"}}`,
		"package-lock.json", "{}", "drizzle.config.ts", "export default defineConfig({ out: './db/migrations', dialect: 'postgresql' })",
		"db/migrations/meta/_journal.json", journal, "db/migrations/0000_a.sql", "",
		"server/index.ts", "import express from 'express'\nconst app = express()\napp.use(express.static('dist/public'))\napp.get('/api/health', ok)\napp.get('/api/items', items)\napp.listen(process.env.PORT || 5000)\nnew Redis(process.env.CACHE_REDIS_URL)\n"), nil},
	{"fastapi-with-sql", tree(
		"pyproject.toml", "[project]\nname = 'api'\ndependencies = ['fastapi', 'psycopg[binary]>=3', 'python-magic']\n[build-system]\nrequires = ['hatchling']\n[dependency-groups]\ndev = ['pytest', {include-group = 'x'}]\n",
		"requirements.lock", "fastapi==0.130.0\n", "src/api/app.py", "from fastapi import FastAPI\n\ndef create_app() -> FastAPI:\n    app = FastAPI(openapi_url=None)\n    return app\n",
		"src/api/media.py", "run([\"ffprobe\", path])\n", "db/001_users.up.sql", "", "db/001_users.down.sql", ""),
		nil},
	{"vite-and-fastapi-in-one-directory", tree(
		"package.json", vitePackage, "package-lock.json", "{}", "requirements.txt", "fastapi\nuvicorn\n", "main.py", fastAPI), nil},
	{"fastapi-that-serves-what-vite-builds", tree(
		"package.json", vitePackage, "package-lock.json", "{}", "requirements.txt", "fastapi\nuvicorn\n",
		"src/main.py", "app = FastAPI()\napp.mount(\"/\", StaticFiles(directory=\"dist\", html=True))\n"), nil},
	{"workspaces", tree(
		"package.json", `{"name": "mono", "workspaces": ["packages/*"], "scripts": {"build": "npm run build -ws"}}`, "package-lock.json", "{}",
		"packages/web/package.json", vitePackage, "packages/ui/package.json", "{}"),
		[]string{
			"left out packages/ui/package.json: a workspace of package.json, which installs and builds it",
			"left out packages/web/package.json: a workspace of package.json, which installs and builds it",
			"app: found nothing that serves it (a start script, a vite build or a FastAPI application): it is built and tested, not deployed. Add serve if it is",
		}},
	{"pages-and-api-whose-health-nobody-reaches", tree(
		"web/package.json", `{"scripts": {"start": "node server.js"}}`, "web/yarn.lock", "",
		"web/server.js", "app.use(express.static('public')); app.get('/api/health', ok); app.listen(process.env.PORT)",
		"api/requirements.txt", "fastapi", "api/main.py", fastAPI), nil},
	{"before-the-first-install", tree(
		"package.json", `{"private": true, "devDependencies": {"husky": "9"}}`,
		"web/package.json", vitePackage, "api/pyproject.toml", "[project]\nname = 'api'\ndependencies = ['fastapi', 'sqlalchemy']\n", "api/main.py", fastAPI,
		"api/alembic.ini", "", "e2e/package.json", "{}", "pyproject.toml", "[tool.ruff]\n",
		"worker/package.json", `{"main": "run.js"}`, "worker/run.js", "http.createServer(f).listen(4000)", "worker/yarn.lock", ""),
		[]string{
			"left out e2e/package.json: e2e/ is taken for no part of the application",
			"left out package.json: it serves nothing and packages are below it, so it is taken for a task runner",
			"api/alembic.ini: Alembic's migrations are not supported yet; write them as 001_name.up.sql files, or go on running them yourself",
			"worker listens on 4000 whatever $PORT says: let it read $PORT, since two releases run beside each other during a deployment",
			`pipeline.yaml:10:15: components.api.runtimes: no requirements.txt or requirements.lock beside api/pyproject.toml, and runtime python needs one so that every run installs the same versions; write it with pinned versions (uv export --output-file requirements.lock, or pip-compile --generate-hashes) and commit it`,
			`pipeline.yaml:17:15: components.web.runtimes: no lock file beside web/package.json, and runtime node needs one so that every run installs the same versions; run npm install in "web" and commit package-lock.json (pnpm-lock.yaml and yarn.lock are read too)`,
		}},
}

func TestInitWritesWhatItSees(t *testing.T) {
	for _, r := range repositories {
		t.Run(r.name, func(t *testing.T) {
			data, notes, err := config.Init(r.tree, "My Shop")
			require.NoError(t, err)
			golden(t, filepath.Join("testdata", "init", r.name+".yaml"), data)
			assert.Equal(t, r.notes, notes)
		})
	}
}

// The law of Init: its result parses, agrees with the schema, and checks clean but for lock files that are missing.
func TestWhatInitWritesIsValid(t *testing.T) {
	valid := validator(t)
	for _, r := range repositories {
		t.Run(r.name, func(t *testing.T) {
			data, _, err := config.Init(r.tree, "shop")
			require.NoError(t, err)
			c, err := config.Parse("pipeline.yaml", data)
			require.NoError(t, err)
			assert.NoError(t, valid(string(data)))
			for _, p := range c.Check(r.tree) {
				assert.Regexp(t, "no lock file|no requirements.txt", p.Error())
			}
		})
	}
}

// On the sample applications Init finds what a person wrote down.
func TestInitAgreesWithTheSampleApplications(t *testing.T) {
	for _, name := range samples {
		t.Run(name, func(t *testing.T) {
			tree := os.DirFS(filepath.Join("../../testdata", name))
			data, notes, err := config.Init(tree, name)
			require.NoError(t, err)
			assert.Empty(t, notes)
			got, err := config.Parse("pipeline.yaml", data)
			require.NoError(t, err)
			want, err := config.Load(tree)
			require.NoError(t, err)
			assert.Equal(t, want.Name, got.Name)
			assert.Equal(t, want.Services, got.Services)
			if want.Database != nil {
				want.Database.Seed, want.Database.Budget = got.Database.Seed, got.Database.Budget // a person's choice
				assert.Equal(t, want.Database, got.Database)
			}
			require.Equal(t, len(want.Components), len(got.Components))
			for name, w := range want.Components {
				g := got.Components[name]
				assert.Equal(t, w.Path, g.Path)
				assert.ElementsMatch(t, w.Runtimes, g.Runtimes)
				assert.ElementsMatch(t, w.Packages, g.Packages)
				assert.Equal(t, w.Inputs, g.Inputs)
				assert.Equal(t, w.Serve, g.Serve)
			}
		})
	}
}

func TestInitRefusesAnEmptyDirectory(t *testing.T) {
	_, _, err := config.Init(tree("README.md", ""), "shop")
	assert.EqualError(t, err, "found neither a package.json nor a Python project (pyproject.toml or requirements.txt): run this in the application's root")
	_, _, err = config.Init(tree("package.json", "{"), "shop")
	assert.EqualError(t, err, "package.json is not valid: unexpected end of JSON input")
	_, _, err = config.Init(tree("pyproject.toml", "["), "shop")
	assert.ErrorContains(t, err, "pyproject.toml is not valid")
}

func TestInitMakesAValidNameOfAnything(t *testing.T) {
	for name, want := range map[string]string{"My Shop!": "my-shop", "shop_2": "shop-2", "2nd": "nd", "": "app", "日本": "app", "-": "app", strings.Repeat("a-", 60): strings.TrimSuffix(strings.Repeat("a-", 25), "-")} {
		data, _, err := config.Init(tree("package.json", "{}", "yarn.lock", ""), name)
		require.NoError(t, err)
		assert.Equal(t, want, parse(t, string(data)).Name, "%q", name)
	}
}

// Whatever the names of directories are, what is written parses.
func TestInitQuotesWhatYAMLWouldMisread(t *testing.T) {
	for _, dir := range []string{"true", "1.0", "null", "a b", "a: b", "#web", "[web]", "we'b", `we"b`, "wéb", "- web", "~", "&web", "{web}", "web,api", "*web"} {
		t.Run(dir, func(t *testing.T) {
			fsys := tree(dir+"/package.json", vitePackage, dir+"/package-lock.json", "{}", dir+"/vite.config.ts", viteConfig, "api/requirements.txt", "fastapi", "api/main.py", fastAPI)
			data, _, err := config.Init(fsys, "shop")
			require.NoError(t, err)
			fsys["pipeline.yaml"] = &fstest.MapFile{Data: data}
			c, err := config.Validate(fsys)
			require.NoError(t, err, string(data))
			assert.Len(t, c.Components, 2)
		})
	}
}
