package config

import (
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// crossCheck reports what is wrong between values that are each right by themselves. It also cleans paths, so that the
// rest of the pipeline compares them as they are. It keeps quiet where a problem is known already.
func (c *Config) crossCheck(r *reporter) {
	x := crossChecker{c, r}
	names := slices.Sorted(maps.Keys(c.Components))
	for _, name := range names {
		x.component(name)
	}
	x.routes(names)
	x.ports(names)
	x.database()
	x.services()
	for _, name := range slices.Sorted(maps.Keys(c.Environments)) {
		x.environment(name)
	}
	x.overlaps("branches", func(e Environment) []string { return e.Branches })
	x.overlaps("tags", func(e Environment) []string { return e.Tags })
	x.requests()
}

type crossChecker struct {
	*Config
	*reporter
}

// at reports a problem at the value of path, unless what is there is known to be wrong.
func (x crossChecker) at(path, message, hint string) {
	if !x.tainted(path) {
		x.report(x.written.value(path), path, message, hint)
	}
}

// atKey does the same at the key of path.
func (x crossChecker) atKey(path, message, hint string) {
	if !x.tainted(path) {
		x.report(x.written.key(path), path, message, hint)
	}
}

const leaves = "leads out of the application's directory"

// outside says whether a slash-separated path leaves the directory it is relative to.
func outside(p string) bool {
	p = path.Clean(p)
	return p == ".." || strings.HasPrefix(p, "../")
}

func (x crossChecker) component(name string) {
	at := "components." + name
	c := x.Components[name]
	c.Path = path.Clean(c.Path)
	if outside(c.Path) {
		x.at(at+".path", leaves, "name a directory below pipeline.yaml")
	}
	for i, in := range c.Inputs {
		at := fmt.Sprintf("%s.inputs[%d]", at, i)
		switch {
		case outside(path.Join(c.Path, in)):
			x.at(at, leaves, "inputs may leave the component, not the application: only what is committed here can be read")
		case !doublestar.ValidatePattern(in):
			x.at(at, "is not a valid glob", "close its brackets and braces")
		}
	}
	for _, variable := range slices.Sorted(maps.Keys(c.Env)) {
		x.componentVariable(at+".env."+variable, variable, c.Env[variable])
	}
	if c.Serve != nil {
		x.serve(at+".serve", c.Serve)
	}
	if x.Components != nil {
		x.Components[name] = c
	}
}

func (x crossChecker) componentVariable(at, variable, value string) {
	if IsReference(value) {
		x.at(at, "is a reference to a secret, which only an environment can hold", "move it to environments.NAME.env")
	} else if why := secretIn(variable, value); why != "" && !urlPassword.MatchString(value) { // of a local test server
		x.at(at, why, "move it to environments.NAME.env and "+referenceHint(variable))
	}
}

func (x crossChecker) serve(at string, s *Serve) {
	switch {
	case len(s.Command) == 0 && s.Static == "":
		x.at(at, "says neither command nor static", "give the command that starts it, or the directory of static files that its build makes")
	case len(s.Command) > 0 && s.Static != "":
		x.at(at, "says both command and static", "keep one: a command serves its own files")
	case len(s.Command) > 0 && strings.TrimSpace(s.Command[0]) == "":
		x.at(at+".command[0]", "names no program", "write the program first: [node, server.js]")
	case len(s.Command) == 1 && strings.Contains(s.Command[0], " "):
		x.at(at+".command[0]", "is a whole command line, and there is no shell", "write one item a word: [npm, run, start]")
	}
	if s.Static != "" {
		s.Static = path.Clean(s.Static)
		if outside(s.Static) {
			x.at(at+".static", "leads out of the component's directory", "name a directory that the component's build makes, such as dist")
		}
		if s.Port != 0 {
			x.at(at+".port", "has no meaning for static files", "remove it")
		}
	}
	for i, route := range s.Routes {
		if len(route) > 1 {
			s.Routes[i] = strings.TrimRight(route, "/")
		}
	}
}

func (x crossChecker) routes(names []string) {
	owner := map[string]string{} // by route
	for _, name := range names {
		serve := x.Components[name].Serve
		if serve == nil {
			continue
		}
		for i, route := range serve.Routes {
			at := fmt.Sprintf("components.%s.serve.routes[%d]", name, i)
			first, taken := owner[route]
			switch {
			case taken && first != name:
				hint := "give each component prefixes of its own"
				if _, written := x.written.values[at]; !written {
					hint = fmt.Sprintf("%s is the default; give one of them routes of its own", route)
				}
				x.at(at, fmt.Sprintf("component %s has the route %s too", first, route), hint)
			case taken:
				x.at(at, fmt.Sprintf("has the route %s twice", route), "remove one")
			}
			owner[route] = name
		}
	}
}

func (x crossChecker) ports(names []string) {
	owner := map[int]string{}
	for _, name := range names {
		serve := x.Components[name].Serve
		if serve == nil || serve.Port == 0 {
			continue
		}
		if first, taken := owner[serve.Port]; taken {
			x.at("components."+name+".serve.port", fmt.Sprintf("component %s listens on %d too", first, serve.Port),
				"give one of them another port, or let it listen on $PORT")
		}
		owner[serve.Port] = name
	}
}

func (x crossChecker) database() {
	if x.Database == nil {
		return
	}
	x.Database.Migrations = path.Clean(x.Database.Migrations)
	if outside(x.Database.Migrations) {
		x.at("database.migrations", leaves, "name a directory below pipeline.yaml")
	}
	if x.Database.Seed != "" {
		x.Database.Seed = path.Clean(x.Database.Seed)
		if outside(x.Database.Seed) {
			x.at("database.seed", leaves, "name a file below pipeline.yaml")
		}
	}
	if p := x.Database.Backup.Physical; p != nil {
		x.physical("database.backup.physical", p)
	}
}

func (x crossChecker) physical(at string, p *Physical) {
	commands := len(p.Backup) > 0 || len(p.Check) > 0 || len(p.Restore) > 0 || p.Reference != ""
	switch {
	case p.Tool == PgBackRest && p.Stanza == "":
		x.at(at, "names no stanza, and pgbackrest needs one", "add stanza: main")
	case p.Tool == PgBackRest && commands:
		x.at(at, "has commands, and pgbackrest has its own", "keep tool and stanza alone")
	case p.Tool == Command && (len(p.Backup) == 0 || len(p.Restore) == 0):
		x.at(at, "does not say how to back up and how to restore", "give backup and restore, one item a word")
	case p.Tool == Command:
		if compiled, err := regexp.Compile(p.Reference); err != nil || compiled.SubexpIndex("reference") < 0 {
			x.at(at+".reference", "has no group named reference", "write the expression that finds the backup's name: 'backup (?P<reference>\\S+)'")
		}
	}
}

func (x crossChecker) services() {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(x.Services)) {
		env := x.Services[name].Env
		if x.Services[name].Prefix != "" && name != Redis {
			x.at("services."+name+".prefix", "has no meaning for "+name, "remove it")
		}
		if first, taken := owner[env]; taken && env != "" {
			x.at("services."+name+".env", fmt.Sprintf("service %s has its URL in %s too", first, env), "give each a variable of its own")
		}
		owner[env] = name
	}
}

func (x crossChecker) environment(name string) {
	at := "environments." + name
	e := x.Environments[name]
	for key, patterns := range map[string][]string{"branches": e.Branches, "tags": e.Tags} {
		if len(patterns) > 0 && strings.HasPrefix(patterns[0], "!") {
			x.at(at+"."+key+"[0]", "takes out what nothing before it took in", "write a pattern without ! first")
		}
	}
	if urlPassword.MatchString(e.URL) {
		x.at(at+".url", "holds a password", "write the address alone")
	}
	for _, variable := range slices.Sorted(maps.Keys(e.Env)) {
		if why := secretIn(variable, e.Env[variable]); why != "" {
			x.at(at+".env."+variable, why, referenceHint(variable))
		}
	}
}

// overlaps reports a branch or tag that two environments take: written twice, or by two globs that share a name.
func (x crossChecker) overlaps(key string, patterns func(Environment) []string) {
	names := slices.Sorted(maps.Keys(x.Environments))
	for i, name := range names {
		own := patterns(x.Environments[name])
		for k, p := range own {
			if strings.HasPrefix(p, "!") {
				continue
			}
			at := fmt.Sprintf("environments.%s.%s[%d]", name, key, k)
			for j, other := range names {
				theirs := patterns(x.Environments[other])
				switch {
				case j == i:
				case slices.Contains(theirs, p):
					if j < i { // once, at the second
						x.at(at, fmt.Sprintf("environment %s takes %s too", other, p), "a branch or tag can be deployed to one environment only")
					}
				default:
					if taker := shared(p, own, theirs); taker != "" {
						x.at(at, fmt.Sprintf("environment %s takes some of the same by %q", other, taker),
							fmt.Sprintf("add %q to environments.%s.%s", "!"+p, other, key))
					}
				}
			}
		}
	}
}

// shared is a glob of theirs that takes a name which the glob p, one of own, takes too; "" where none was found.
func shared(p string, own, theirs []string) string {
	if !isGlob(p) { // a name wins over their globs
		return ""
	}
	name := example(p)
	if _, mine := matchList(own, name); name == "" || !mine {
		return ""
	}
	if taker, both := matchList(theirs, name); both && isGlob(taker) {
		return taker
	}
	return ""
}

func (x crossChecker) requests() {
	served := false
	for _, c := range x.Components {
		served = served || c.Serve != nil
	}
	if served && len(x.Rehearsal.Requests) == 0 && !x.tainted("components") {
		x.at("rehearsal.requests", "is missing, and no component's routes lead to its health path", "list at least one request that users make")
	}
	names := map[string]int{}
	for i, q := range x.Rehearsal.Requests {
		at := fmt.Sprintf("rehearsal.requests[%d]", i)
		x.body(at, q)
		if _, written := x.written.values[at+".name"]; written {
			if first, taken := names[q.Name]; taken {
				x.at(at+".name", fmt.Sprintf("rehearsal.requests[%d] has this name too", first), "give each a name of its own: reports go by it")
			}
			names[q.Name] = i
		}
		if q.File != nil {
			q.File.Path = path.Clean(q.File.Path)
			if outside(q.File.Path) {
				x.at(at+".file.path", leaves, "name a file below pipeline.yaml")
			}
		}
		if _, ok := x.routed(q.Path); !ok && !x.tainted("components") {
			x.at(at+".path", "no component has a route that leads there", "correct the path, or add the route to a component's serve.routes")
		}
	}
}

func (x crossChecker) body(at string, q Request) {
	var bodies []string
	if q.Body != "" {
		bodies = append(bodies, "body")
	}
	if q.JSON != nil {
		bodies = append(bodies, "json")
	}
	if q.File != nil {
		bodies = append(bodies, "file")
	}
	switch {
	case len(bodies) > 1:
		x.at(at+"."+bodies[1], fmt.Sprintf("a request has one body, and %s is another", bodies[0]), "keep one of them")
	case len(bodies) == 1 && (q.Method == http.MethodGet || q.Method == http.MethodHead):
		x.at(at+"."+bodies[0], fmt.Sprintf("a %s request has no body", q.Method), "add method: POST")
	}
}
