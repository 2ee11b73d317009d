package survey

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	// app = FastAPI(…), app: FastAPI = fastapi.FastAPI(…)
	fastAPIVariable = regexp.MustCompile(`(?m)^([A-Za-z_]\w*)[ \t]*(?::[ \t]*[\w.]+[ \t]*)?=[ \t]*(?:\w+\.)?FastAPI\(`)
	// def create_app(settings: Settings) -> FastAPI:
	fastAPIFactory = regexp.MustCompile(`(?m)^def\s+(\w+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)\s*->\s*(?:\w+\.)?FastAPI\s*:`)
	// app = create_app(…), also in a try at the top of a module
	assigned = regexp.MustCompile(`(?m)^(?: {4})?([A-Za-z_]\w*)[ \t]*(?::[ \t]*[\w.]+[ \t]*)?=[ \t]*(?:\w+\.)?(\w+)\(`)
	// @app.get("/items"), @router.websocket('/live')
	pythonRoute = regexp.MustCompile(`@(\w+)\.(get|post|put|patch|delete|head|options|api_route|route|websocket)\(\s*["'](/[^"']*|)["']`)
	// router = APIRouter(prefix="/items")
	routerPrefix = regexp.MustCompile(`(?m)^(\w+)[ \t]*(?::[ \t]*[\w.]+[ \t]*)?=[ \t]*(?:\w+\.)?APIRouter\(([^)]*)\)`)
	// app.include_router(items.router, prefix="/api"); app.mount("/static", …)
	includeRouter = regexp.MustCompile(`\.include_router\(\s*([\w.]+)([^)]*)\)`)
	mounted       = regexp.MustCompile(`\.mount\(\s*["'](/[^"']*)["']\s*,\s*(\w*)`)
	prefixWord    = regexp.MustCompile(`prefix\s*=\s*["'](/[^"']*)["']`)
)

// ServePython says how a Python package is served: by uvicorn, where it has a FastAPI application. nil where it has none.
func (r *Repository) ServePython(p Package) *Serving {
	if p.Python == nil {
		return nil
	}
	app := r.fastAPI(p)
	if app == nil {
		return nil
	}
	module, appDir := moduleOf(relative(p.Dir, app.file))
	command := []string{"python", "-m", "uvicorn"}
	if appDir != "" && !p.Python.Packaged { // otherwise the build installs it
		command = append(command, "--app-dir", appDir)
	}
	why := fmt.Sprintf("%s in %s", app.name, relative(p.Dir, app.file))
	if app.factory {
		command, why = append(command, "--factory"), why+" makes the application"
	}
	s := &Serving{Command: append(command, module+":"+app.name, "--host", "$HOST", "--port", "$PORT"), Why: why}
	s.Routes, s.Pages = r.pythonRoutes(p)
	if !strings.Contains(r.Source(app.file), "openapi_url=None") {
		s.Fallback = "/openapi.json" // FastAPI's own
	}
	return s
}

// application is what uvicorn is pointed at.
type application struct {
	file, name string
	factory    bool // name is a function that returns it
}

// fastAPI finds the application; nil for none. An application that is assigned wins over a function that makes one, a
// file nearer to the root over one further down, main.py and app.py over others.
func (r *Repository) fastAPI(p Package) *application {
	files := r.sources(p, false, ".py")
	rank := func(f string) int {
		usual := slices.Index([]string{"main.py", "app.py", "asgi.py", "server.py"}, path.Base(f))
		if usual < 0 {
			usual = 9
		}
		return strings.Count(f, "/")*10 + usual
	}
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
	var factories []string
	var callable *application // a factory that needs no argument
	for _, f := range files {
		if m := fastAPIVariable.FindStringSubmatch(r.Source(f)); m != nil {
			return &application{file: f, name: m[1]}
		}
		for _, m := range fastAPIFactory.FindAllStringSubmatch(r.Source(f), -1) {
			factories = append(factories, m[1])
			if callable == nil && strings.TrimSpace(m[2]) == "" {
				callable = &application{file: f, name: m[1], factory: true}
			}
		}
	}
	for _, f := range files {
		for _, m := range assigned.FindAllStringSubmatch(r.Source(f), -1) {
			if slices.Contains(factories, m[2]) {
				return &application{file: f, name: m[1]}
			}
		}
	}
	return callable
}

// moduleOf is the module of a file, and the directory its packages are in where that is not the package's own:
// "src/shop/app.py" is shop.app in src.
func moduleOf(file string) (module, appDir string) {
	if rest, ok := strings.CutPrefix(file, "src/"); ok {
		file, appDir = rest, "src"
	}
	file = strings.TrimSuffix(strings.TrimSuffix(file, ".py"), "/__init__")
	return strings.ReplaceAll(file, "/", "."), appDir
}

// pythonRoutes are the routes of a FastAPI application, prefixes of routers resolved as far as they are written
// out, and whether it serves pages.
func (r *Repository) pythonRoutes(p Package) (routes []Route, pages bool) {
	included := map[string]string{} // prefix by the name of the module or variable that is included
	files := r.sources(p, false, ".py")
	for _, f := range files {
		for _, m := range includeRouter.FindAllStringSubmatch(r.Source(f), -1) {
			prefix := prefixWord.FindStringSubmatch(m[2])
			if prefix == nil {
				continue
			}
			words := strings.Split(m[1], ".")
			included[words[max(len(words)-2, 0)]] = prefix[1] // items of items.router
		}
	}
	for _, f := range files {
		text := r.Source(f)
		own := map[string]string{} // prefix by variable
		for _, m := range routerPrefix.FindAllStringSubmatch(text, -1) {
			own[m[1]] = ""
			if prefix := prefixWord.FindStringSubmatch(m[2]); prefix != nil {
				own[m[1]] = prefix[1]
			}
		}
		module := path.Base(strings.TrimSuffix(f, ".py"))
		for _, m := range pythonRoute.FindAllStringSubmatch(text, -1) {
			prefix, isRouter := own[m[1]]
			if isRouter {
				prefix = cmp.Or(included[module], included[m[1]]) + prefix
			}
			if full := prefix + m[3]; full != "" {
				routes = append(routes, newRoute(m[2], full))
			}
		}
		for _, m := range mounted.FindAllStringSubmatch(text, -1) {
			routes = append(routes, newRoute("", m[1]))
			pages = pages || m[1] == "/" && m[2] == "StaticFiles"
		}
	}
	return sorted(routes), pages
}
