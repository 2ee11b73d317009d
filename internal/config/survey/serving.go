package survey

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Serving is how a package seems to be served.
type Serving struct {
	Command []string // with $HOST and $PORT; nil where Static is set
	Static  string   // directory of static files that the build makes, relative to the package
	Port    int      // fixed in the sources, 0 for any
	Pages   bool     // it answers for the pages, not only for an API
	Why     string   // what told of it
	Routes  []Route  // that the sources name, sorted by path
	// Fallback is a path that surely answers 200 where the sources name no health path; "" for none.
	Fallback string
}

// Route is a request that the sources name.
type Route struct {
	Method string // "GET", or "" where it is not told
	Path   string
}

var (
	serverStart = regexp.MustCompile(`(^|[\s;&|/])(node|tsx|ts-node|nest start|next start|nuxt start|remix-serve|react-router-serve)\b`)
	listens     = regexp.MustCompile(`\.listen\(|\bserve\(|createServer\(`)
	portInEnv   = regexp.MustCompile(`process\.env(\.PORT\b|\[["']PORT["'])|\bPORT\b[^\n]*process\.env`)
	fixedPort   = regexp.MustCompile(`\.listen\(\s*([0-9]{2,5})\b|(?i:\bport)\s*[=:]\s*([0-9]{2,5})\b`)
	sendsPages  = regexp.MustCompile(`express\.static\(|serveStatic|@fastify/static|sendFile\(|\.html\b|\.render\(`)
	viteOut     = regexp.MustCompile(`\boutDir["']?\s*:\s*["'` + "`" + `]([^"'` + "`" + `]+)`)
)

// ServeNode says how a Node package is served, nil where it seems to be no server and no static site.
func (r *Repository) ServeNode(p Package) *Serving {
	if p.Node == nil {
		return nil
	}
	if command, why := r.nodeCommand(p); command != nil {
		s := &Serving{Command: command, Why: why, Routes: r.nodeRoutes(p), Pages: p.Node.uses("next", "nuxt", "@remix-run/node")}
		s.Port = r.fixedPort(p)
		for _, f := range r.sources(p, false, nodeExtensions...) {
			s.Pages = s.Pages || sendsPages.MatchString(r.Source(f)) && listens.MatchString(r.Source(f))
		}
		if s.Pages {
			s.Fallback = "/"
		}
		return s
	}
	if p.Node.uses("vite") && strings.Contains(p.Node.Scripts["build"], "vite") {
		s := &Serving{Static: "dist", Pages: true, Why: "what vite build makes"}
		for _, f := range r.sources(p, false, nodeExtensions...) {
			if !strings.HasPrefix(path.Base(f), "vite.config.") {
				continue
			}
			if m := viteOut.FindStringSubmatch(r.Source(f)); m != nil {
				s.Static, s.Why = path.Clean(m[1]), "outDir in "+relative(p.Dir, f)
			}
		}
		if strings.HasPrefix(s.Static, "..") || path.IsAbs(s.Static) {
			return nil // built into another package, which serves it
		}
		return s
	}
	return nil
}

// nodeCommand is the command that starts a package's server, and what told of it.
func (r *Repository) nodeCommand(p Package) (command []string, why string) {
	if script := p.Node.Scripts["start"]; serverStart.MatchString(script) {
		if words := p.Node.startWords(); len(words) > 1 && words[0] == "node" {
			return words, "the start script, without npm in between: signals reach it at once"
		}
		runner := map[string]string{"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn"}[p.Node.Lock]
		if runner == "" {
			runner = "npm"
		}
		return []string{runner, "run", "start"}, "the start script"
	}
	if entry := r.entry(p); entry != "" {
		return []string{"node", relative(p.Dir, entry)}, entry + " listens"
	}
	return nil, ""
}

// entry is the file that starts a Node server without a start script, "" for none.
func (r *Repository) entry(p Package) string {
	candidates := []string{"server.js", "server.mjs", "server.cjs", "index.js", "index.mjs", "app.js", "main.js",
		"src/server.js", "src/index.js", "src/app.js", "src/main.js", "server/index.js"}
	if p.Node.Main != "" {
		candidates = append([]string{path.Clean(p.Node.Main)}, candidates...)
	}
	for _, c := range candidates {
		if f := path.Join(p.Dir, c); slices.Contains(r.files, f) && listens.MatchString(r.Source(f)) {
			return f
		}
	}
	return ""
}

// fixedPort is the port that the sources write out, 0 where they read $PORT.
func (r *Repository) fixedPort(p Package) int {
	port := 0
	for _, f := range r.sources(p, false, nodeExtensions...) {
		text := r.Source(f)
		if portInEnv.MatchString(text) {
			return 0
		}
		if m := fixedPort.FindStringSubmatch(text); m != nil && listens.MatchString(text) {
			port, _ = strconv.Atoi(m[1] + m[2])
		}
	}
	if port > 65535 {
		return 0
	}
	return port
}

var (
	// app.get("/items"), router.use('/api', …)
	nodeRoute = regexp.MustCompile(`\.(get|post|put|patch|delete|all|use|route|head)\(\s*["'` + "`" + `](/[A-Za-z0-9/_.:{}*-]*)`)
	// "GET /items" as the key of a table
	nodeTable = regexp.MustCompile(`["'` + "`" + `](GET|POST|PUT|PATCH|DELETE) (/[A-Za-z0-9/_.:{}*-]*)`)
	// url.pathname === "/items", path.startsWith("/api")
	nodeCompare = regexp.MustCompile(`(===?|startsWith\(|case)\s*["'` + "`" + `](/[A-Za-z0-9/_.-]*)["'` + "`" + `]`)
)

// nodeRoutes are the requests that a Node server's sources name.
func (r *Repository) nodeRoutes(p Package) []Route {
	var routes []Route
	for _, f := range r.sources(p, false, nodeExtensions...) {
		for _, pattern := range []*regexp.Regexp{nodeRoute, nodeTable, nodeCompare} {
			for _, m := range pattern.FindAllStringSubmatch(r.Source(f), -1) {
				routes = append(routes, newRoute(m[1], m[2]))
			}
		}
	}
	return sorted(routes)
}

func newRoute(method, path string) Route {
	switch method = strings.ToUpper(method); method {
	case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD":
		return Route{method, path}
	default:
		return Route{"", path}
	}
}

func sorted(routes []Route) []Route {
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return slices.Compact(routes)
}

// The paths by which applications tell of themselves, the usual ones first.
var (
	healthPaths  = []string{"/healthz", "/health", "/livez", "/api/healthz", "/api/health", "/health/live", "/_health", "/ping"}
	readyPaths   = []string{"/readyz", "/ready", "/api/readyz", "/api/ready", "/health/ready"}
	versionPaths = []string{"/version", "/api/version"}
	docsPaths    = []string{"/docs", "/redoc", "/openapi.json", "/metrics"}
)

// Health is the path that the sources answer for liveness, "" where they name none.
func (s *Serving) Health() string { return s.first(healthPaths) }

// Ready is the path that they answer for readiness, "" where they name none.
func (s *Serving) Ready() string { return s.first(readyPaths) }

// Version is the path that they answer with the release, "" where they name none.
func (s *Serving) Version() string { return s.first(versionPaths) }

func (s *Serving) first(of []string) string {
	for _, path := range of {
		if slices.ContainsFunc(s.Routes, func(r Route) bool { return r.Path == path }) {
			return path
		}
	}
	return ""
}

// Prefixes are the first segments of the paths that are the application's own, sorted.
func (s *Serving) Prefixes() []string {
	var found []string
	for _, r := range s.own() {
		if first := "/" + strings.Split(strings.TrimPrefix(r.Path, "/"), "/")[0]; first != "/" && !parameter(first) {
			found = append(found, first)
		}
	}
	return slices.Compact(found) // in order, as the routes are
}

// Reads are the paths that a GET can be made on as they are: what a rehearsal may ask for.
func (s *Serving) Reads() []string {
	var found []string
	for _, r := range s.own() {
		if r.Method == http.MethodGet && r.Path != "/" && !parameter(r.Path) {
			found = append(found, r.Path)
		}
	}
	return found
}

// own are the routes by which the application does not only tell of itself.
func (s *Serving) own() []Route {
	aside := slices.Concat(healthPaths, readyPaths, versionPaths, docsPaths)
	return slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return slices.Contains(aside, r.Path) })
}

func parameter(path string) bool { return strings.ContainsAny(path, ":{*") }

// Notes say what a person should know about the serving.
func (s *Serving) Notes(p Package) []string {
	if s.Port == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s listens on %d whatever $PORT says: let it read $PORT, since two releases run beside each other during a deployment", p.Dir, s.Port)}
}
