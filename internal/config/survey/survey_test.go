package survey_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config/survey"
)

func tree(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i+1 < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func survey1(t *testing.T, files ...string) (*survey.Repository, survey.Package) {
	t.Helper()
	r, err := survey.Survey(tree(files...))
	require.NoError(t, err)
	require.Len(t, r.Packages, 1)
	return r, r.Packages[0]
}

func TestServePython(t *testing.T) {
	uvicorn := func(words ...string) []string {
		return append(append([]string{"python", "-m", "uvicorn"}, words...), "--host", "$HOST", "--port", "$PORT")
	}
	const factory = "from fastapi import FastAPI\n\ndef create_app(\n    settings: Settings, store: Store | None = None\n) -> FastAPI:\n    app = FastAPI()\n    return app\n"
	for _, c := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"a variable", []string{"main.py", "app = FastAPI()\n"}, uvicorn("main:app")},
		{"a variable with a type", []string{"main.py", "api: fastapi.FastAPI = fastapi.FastAPI(\n    title='x')\n"}, uvicorn("main:api")},
		{"main.py before others", []string{"admin.py", "app = FastAPI()\n", "main.py", "app = FastAPI()\n"}, uvicorn("main:app")},
		{"the shallowest file", []string{"a/main.py", "app = FastAPI()\n", "serve.py", "app = FastAPI()\n"}, uvicorn("serve:app")},
		{"a package", []string{"shop/__init__.py", "app = FastAPI()\n"}, uvicorn("shop:app")},
		{"an src directory that is not packaged", []string{"src/shop/main.py", "app = FastAPI()\n"}, uvicorn("--app-dir", "src", "shop.main:app")},
		{"an src directory that is packaged", []string{"pyproject.toml", "[project]\nname='a'\n[build-system]\nrequires=['x']\n", "src/shop/main.py", "app = FastAPI()\n"}, uvicorn("shop.main:app")},
		{"a factory that is called elsewhere", []string{"shop/api.py", factory, "shop/app.py", "from shop.api import create_app\n\ntry:\n    app = create_app(Settings())\nexcept Error:\n    pass\n"}, uvicorn("shop.app:app")},
		{"a factory that nobody calls and needs nothing", []string{"shop/api.py", "def make() -> FastAPI:\n    return FastAPI()\n"}, uvicorn("--factory", "shop.api:make")},
		{"a factory that needs arguments", []string{"shop/api.py", factory}, nil},
		{"an application in a test", []string{"tests/conftest.py", "app = FastAPI()\n", "test_main.py", "app = FastAPI()\n"}, nil},
		{"a local variable", []string{"main.py", "def f():\n    app = FastAPI()\n"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := survey1(t, append([]string{"requirements.txt", "fastapi\n"}, c.files...)...)
			s := r.ServePython(p)
			if c.want == nil {
				assert.Nil(t, s)
				return
			}
			require.NotNil(t, s)
			assert.Equal(t, c.want, s.Command)
		})
	}
}

func TestRoutesOfFastAPI(t *testing.T) {
	r, p := survey1(t, "requirements.txt", "fastapi\n",
		"app/main.py", "app = FastAPI()\napp.include_router(items.router, prefix='/api/v1', tags=['x'])\napp.include_router(admin)\napp.mount('/static', StaticFiles())\n@app.get('/healthz')\ndef h(): ...\n@app.get('/')\ndef i(): ...\n",
		"app/items.py", "router = APIRouter(prefix='/items')\n@router.get('')\ndef all(): ...\n@router.post('/{id}')\ndef add(): ...\n",
		"app/admin.py", "admin = APIRouter()\n@admin.get('/admin/users')\ndef users(): ...\n")
	s := r.ServePython(p)
	assert.Equal(t, []survey.Route{{Method: "GET", Path: "/"}, {Method: "GET", Path: "/admin/users"}, {Method: "GET", Path: "/api/v1/items"},
		{Method: "POST", Path: "/api/v1/items/{id}"}, {Method: "GET", Path: "/healthz"}, {Path: "/static"}}, s.Routes)
	assert.Equal(t, []string{"/admin", "/api", "/static"}, s.Prefixes())
	assert.Equal(t, []string{"/admin/users", "/api/v1/items"}, s.Reads())
	assert.Equal(t, "/healthz", s.Health())
	assert.Empty(t, s.Ready())
}

func TestServeNode(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  *survey.Serving // its command, static, port and pages
	}{
		{"vite", []string{"package.json", `{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "8"}}`}, &survey.Serving{Static: "dist", Pages: true}},
		{"vite with a preview", []string{"package.json", `{"scripts": {"build": "vite build", "start": "vite preview"}, "devDependencies": {"vite": "8"}}`}, &survey.Serving{Static: "dist", Pages: true}},
		{"vite that builds into another package", []string{"package.json", `{"scripts": {"build": "vite build"}, "devDependencies": {"vite": "8"}}`, "vite.config.ts", "outDir: '../api/static'"}, nil},
		{"a start script", []string{"package.json", `{"scripts": {"start": "node --enable-source-maps server.js"}}`, "server.js", "a.listen(process.env.PORT)"}, &survey.Serving{Command: []string{"node", "--enable-source-maps", "server.js"}}},
		{"a start script of several commands", []string{"package.json", `{"scripts": {"start": "npm run migrate && node server.js"}}`, "pnpm-lock.yaml", ""}, &survey.Serving{Command: []string{"pnpm", "run", "start"}}},
		{"Next", []string{"package.json", `{"scripts": {"start": "next start", "build": "next build"}, "dependencies": {"next": "16"}}`}, &survey.Serving{Command: []string{"npm", "run", "start"}, Pages: true}},
		{"main", []string{"package.json", `{"main": "lib/run.js"}`, "lib/run.js", "http.createServer(f).listen(3000)"}, &survey.Serving{Command: []string{"node", "lib/run.js"}, Port: 3000}},
		{"a port with a fallback", []string{"package.json", `{}`, "index.js", "const port = Number(process.env.PORT ?? 3000)\napp.listen(port)"}, &survey.Serving{Command: []string{"node", "index.js"}}},
		{"a port in a constant", []string{"package.json", `{}`, "index.js", "const port = 3000\napp.listen(port)"}, &survey.Serving{Command: []string{"node", "index.js"}, Port: 3000}},
		{"a library", []string{"package.json", `{"main": "index.js"}`, "index.js", "module.exports = 1"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := survey1(t, c.files...)
			s := r.ServeNode(p)
			if c.want == nil {
				assert.Nil(t, s)
				return
			}
			require.NotNil(t, s)
			assert.Equal(t, *c.want, survey.Serving{Command: s.Command, Static: s.Static, Port: s.Port, Pages: s.Pages})
		})
	}
}

func TestRoutesOfNode(t *testing.T) {
	r, p := survey1(t, "package.json", `{"scripts": {"start": "node a.js"}}`, "a.js", "app.get('/api/items', f)\napp.use(\"/auth\", g)\nrouter.post(`/api/items/:id`)\nconst table = {\"GET /health\": h}\nif (url.pathname === '/version') {}\n")
	s := r.ServeNode(p)
	assert.Equal(t, []string{"/api", "/auth"}, s.Prefixes())
	assert.Equal(t, []string{"/api/items"}, s.Reads())
	assert.Equal(t, "/health", s.Health())
	assert.Equal(t, "/version", s.Version())
}

func TestMigrations(t *testing.T) {
	pkg := []string{"package.json", "{}"}
	journal := `{"dialect": "postgresql"}`
	for _, c := range []struct {
		name  string
		files []string
		want  *survey.Migrations
		notes int
	}{
		{"none", nil, nil, 0},
		{"Drizzle with its configuration", []string{"app/drizzle.config.ts", "out: \"../db\"", "db/meta/_journal.json", journal}, &survey.Migrations{Dir: "db", Format: "drizzle", Why: "out in app/drizzle.config.ts"}, 0},
		{"Drizzle where it writes by default", []string{"drizzle.config.ts", "dialect: 'postgresql'", "drizzle/meta/_journal.json", journal}, &survey.Migrations{Dir: "drizzle", Format: "drizzle", Why: "out in drizzle.config.ts"}, 0},
		{"Drizzle that never generated", []string{"drizzle.config.ts", ""}, nil, 1},
		{"Drizzle for SQLite", []string{"drizzle.config.ts", "dialect: 'sqlite'", "drizzle/meta/_journal.json", `{"dialect": "sqlite"}`}, nil, 1},
		{"a journal alone", []string{"db/meta/_journal.json", journal}, &survey.Migrations{Dir: "db", Format: "drizzle", Why: "meta/_journal.json"}, 0},
		{"SQL", []string{"db/001_a.up.sql", "", "db/001_a.down.sql", ""}, &survey.Migrations{Dir: "db", Format: "sql", Why: "001_a.up.sql"}, 0},
		{"two directories", []string{"a/b/001_a.up.sql", "", "c/001_a.up.sql", ""}, &survey.Migrations{Dir: "c", Format: "sql", Why: "001_a.up.sql"}, 1},
		{"Prisma", []string{"prisma/schema.prisma", ""}, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := survey1(t, append(pkg, c.files...)...)
			got, notes := r.Migrations()
			assert.Equal(t, c.want, got)
			assert.Len(t, notes, c.notes)
		})
	}
}

func TestServers(t *testing.T) {
	r, _ := survey1(t, "package.json", `{"dependencies": {"drizzle-orm": "1", "better-sqlite3": "1", "ioredis": "5"}}`, "a.js", "process.env.QUEUE_REDIS_URL; process.env.REDIS_URL; process.env.REDIS_TTL")
	assert.Equal(t, []survey.Server{{Name: "redis", Env: "REDIS_URL", Why: "ioredis in package.json"}}, r.Servers(false))
	assert.Equal(t, []survey.Server{{Name: "postgres", Why: "the migrations"}, {Name: "redis", Env: "REDIS_URL", Why: "ioredis in package.json"}}, r.Servers(true))

	r, _ = survey1(t, "pyproject.toml", "[project]\nname = 'a'\n[project.optional-dependencies]\ndb = ['SQLAlchemy>=2']\n", "settings.py", "class Settings(BaseSettings):\n    main_database_url: str\n    api_url: str\n")
	assert.Equal(t, []survey.Server{{Name: "postgres", Env: "MAIN_DATABASE_URL", Why: "sqlalchemy in pyproject.toml"}}, r.Servers(false))
}
