package router

import (
	"fmt"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/deploy"
)

// Routes maps paths to components by path prefix; the longest prefix wins.
type Routes struct {
	routes []route // longest prefix first
}

type route struct {
	prefix    string // no trailing slash, "" for everything
	component string
}

// NewRoutes is the routes of a release's units. Units without routes are not reachable. Two units with one prefix are an
// error, and so is a prefix that does not begin with a slash.
func NewRoutes(units []deploy.Unit) (Routes, error) {
	var routes []route
	owner := map[string]string{}
	for _, unit := range units {
		for _, prefix := range unit.Routes {
			if !strings.HasPrefix(prefix, "/") {
				return Routes{}, invalid(fmt.Sprintf("route %q of component %s does not begin with a slash", prefix, unit.Component),
					fmt.Sprintf("write %q in serve.routes", "/"+prefix))
			}
			trimmed := strings.TrimRight(prefix, "/")
			if other, ok := owner[trimmed]; ok && other != unit.Component {
				return Routes{}, invalid(fmt.Sprintf("components %s and %s both serve %s", other, unit.Component, prefix),
					"give each path prefix to one component in serve.routes")
			} else if ok {
				continue
			}
			owner[trimmed] = unit.Component
			routes = append(routes, route{prefix: trimmed, component: unit.Component})
		}
	}
	slices.SortStableFunc(routes, func(a, b route) int { return len(b.prefix) - len(a.prefix) })
	return Routes{routes: routes}, nil
}

// Component is the component that serves a path.
func (r Routes) Component(path string) (component string, ok bool) {
	for _, route := range r.routes {
		if rest, ok := strings.CutPrefix(path, route.prefix); ok && (rest == "" || rest[0] == '/') {
			return route.component, true
		}
	}
	return "", false
}
