package config_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/internal/config"
)

const (
	leaves = "leads out of the application's directory"
	head   = "version: 1\nname: shop\ncomponents:\n"
)

func TestProblemsBetweenValues(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want string
	}{
		// Paths.
		{"a component outside", head + "  web: {path: ../web}\n", `pipeline.yaml:4:15: components.web.path: ` + leaves + `; name a directory below pipeline.yaml`},
		{"a component outside by a detour", head + "  web: {path: a/../../web}\n", `pipeline.yaml:4:15: components.web.path: ` + leaves + `; name a directory below pipeline.yaml`},
		{"an absolute path", head + "  web: {path: /srv/web}\n", `pipeline.yaml:4:15: components.web.path: "/srv/web" is not a relative path; write it relative and with forward slashes`},
		{"a Windows path", head + "  web: {path: apps\\web}\n", `pipeline.yaml:4:15: components.web.path: "apps\\web" is not a relative path; write it relative and with forward slashes`},
		{"an input may leave the component", head + "  web: {path: apps/web, inputs: [../../shared]}\n", ``},
		{"an input may not leave the application", head + "  web: {path: apps/web, inputs: [../../../shared]}\n", `pipeline.yaml:4:34: components.web.inputs[0]: ` + leaves + `; inputs may leave the component, not the application: only what is committed here can be read`},
		{"a seed outside", base + "database: {seed: ../seed.sql}\n", `pipeline.yaml:5:18: database.seed: ` + leaves + `; name a file below pipeline.yaml`},
		{"a prefix of a database", base + "services: {postgres: {prefix: \"a:\"}}\n", `pipeline.yaml:5:31: services.postgres.prefix: has no meaning for postgres; remove it`},
		{"pgbackrest without a stanza", base + "database: {backup: {physical: {tool: pgbackrest}}}\n", `pipeline.yaml:5:31: database.backup.physical: names no stanza, and pgbackrest needs one; add stanza: main`},
		{"pgbackrest with commands", base + "database: {backup: {physical: {tool: pgbackrest, stanza: main, backup: [x]}}}\n", `pipeline.yaml:5:31: database.backup.physical: has commands, and pgbackrest has its own; keep tool and stanza alone`},
		{"a tool that cannot restore", base + "database: {backup: {physical: {tool: command, backup: [x]}}}\n", `pipeline.yaml:5:31: database.backup.physical: does not say how to back up and how to restore; give backup and restore, one item a word`},
		{"a tool whose backups have no name", base + "database: {backup: {physical: {tool: command, backup: [x], restore: [y], reference: z}}}\n", `pipeline.yaml:5:85: database.backup.physical.reference: has no group named reference; write the expression that finds the backup's name: 'backup (?P<reference>\S+)'`},
		{"migrations outside", base + "database: {migrations: ../db}\n", `pipeline.yaml:5:24: database.migrations: ` + leaves + `; name a directory below pipeline.yaml`},
		{"a request's file outside", base + "rehearsal: {requests: [{path: /, method: POST, file: {path: ../a}}]}\n", `pipeline.yaml:5:61: rehearsal.requests[0].file.path: ` + leaves + `; name a file below pipeline.yaml`},
		{"static files of another component", head + "  web: {serve: {static: ../api/dist}}\n", `pipeline.yaml:4:25: components.web.serve.static: leads out of the component's directory; name a directory that the component's build makes, such as dist`},

		// Serve.
		{"neither command nor static", head + "  web:\n    serve: {routes: [/]}\n", `pipeline.yaml:5:12: components.web.serve: says neither command nor static; give the command that starts it, or the directory of static files that its build makes`},
		{"command and static", head + "  web: {serve: {command: [a], static: dist}}\n", `pipeline.yaml:4:16: components.web.serve: says both command and static; keep one: a command serves its own files`},
		{"a mistyped command is not said to be missing", head + "  web: {serve: {command: a}}\n", `pipeline.yaml:4:26: components.web.serve.command: must be a list, but is a text; write [a, b], or one - a line`},
		{"a command line in one item", head + "  web: {serve: {command: [npm run start]}}\n", `pipeline.yaml:4:27: components.web.serve.command[0]: is a whole command line, and there is no shell; write one item a word: [npm, run, start]`},
		{"a port of static files", head + "  web: {serve: {static: dist, port: 80}}\n", `pipeline.yaml:4:37: components.web.serve.port: has no meaning for static files; remove it`},

		// Routes and ports.
		{"two components with one route", head + "  api: {serve: {command: [a], routes: [/v1, /api]}}\n  web: {serve: {static: dist, routes: [/, /api/]}}\n", `pipeline.yaml:5:43: components.web.serve.routes[1]: component api has the route /api too; give each component prefixes of its own`},
		{"two components without routes", head + "  api: {serve: {command: [a]}}\n  web: {serve: {static: dist}}\n", `pipeline.yaml:5:9: components.web.serve.routes[0]: component api has the route / too; / is the default; give one of them routes of its own`},
		{"a route twice but for a slash", head + "  web: {serve: {static: dist, routes: [/a, /a/]}}\n", `pipeline.yaml:4:44: components.web.serve.routes[1]: has the route /a twice; remove one`},
		{"two components with one port", head + "  api: {serve: {command: [a], port: 80, routes: [/api]}}\n  web: {serve: {command: [a], port: 80}}\n", `pipeline.yaml:5:37: components.web.serve.port: component api listens on 80 too; give one of them another port, or let it listen on $PORT`},
		{"any port is no port", head + "  api: {serve: {command: [a], port: 0, routes: [/api]}}\n  web: {serve: {command: [a], port: 0, health: /}}\n", ``},

		// Services.
		{"two services with one variable", base + "services: {postgres: {env: URL}, redis: {env: URL}}\n", `pipeline.yaml:5:47: services.redis.env: service postgres has its URL in URL too; give each a variable of its own`},

		// Environments.
		{"two environments with one branch", base + "environments:\n  a: {branches: [dev, main]}\n  b: {branches: [main]}\n", `pipeline.yaml:7:18: environments.b.branches[0]: environment a takes main too; a branch or tag can be deployed to one environment only`},
		{"two environments with one glob", base + "environments:\n  a: {tags: [\"v*\"]}\n  b: {tags: [\"v*\"]}\n", `pipeline.yaml:7:14: environments.b.tags[0]: environment a takes v* too; a branch or tag can be deployed to one environment only`},
		{"a glob within another environment's glob", base + "environments:\n  production: {tags: [\"v*\"]}\n  staging: {tags: [\"v*-*\"]}\n", `pipeline.yaml:7:20: environments.staging.tags[0]: environment production takes some of the same by "v*"; add "!v*-*" to environments.production.tags`},
		{"a glob taken out of another", base + "environments:\n  production: {tags: [\"v*\", \"!v*-*\"]}\n  staging: {tags: [\"v*-*\"]}\n", ``},
		{"a name within another environment's glob", base + "environments:\n  production: {branches: [release/lts]}\n  staging: {branches: [\"release/*\"]}\n", ``},
		{"a branch and a tag of one name", base + "environments:\n  a: {branches: [v1]}\n  b: {tags: [v1]}\n", ``},
		{"nothing to take out of", base + "environments: {a: {branches: [\"!main\"]}}\n", `pipeline.yaml:5:31: environments.a.branches[0]: takes out what nothing before it took in; write a pattern without ! first`},

		// Requests.
		{"two bodies", base + "rehearsal: {requests: [{path: /, method: POST, body: a, json: {}}]}\n", `pipeline.yaml:5:63: rehearsal.requests[0].json: a request has one body, and body is another; keep one of them`},
		{"a body with GET", base + "rehearsal: {requests: [{path: /, body: a}]}\n", `pipeline.yaml:5:40: rehearsal.requests[0].body: a GET request has no body; add method: POST`},
		{"two requests of one name", base + "rehearsal: {requests: [{path: /, name: a}, {path: /b, name: a}]}\n", `pipeline.yaml:5:61: rehearsal.requests[1].name: rehearsal.requests[0] has this name too; give each a name of its own: reports go by it`},
		{"a request that leads nowhere", head + "  api: {serve: {command: [a], routes: [/api], health: /api/up}}\nrehearsal: {requests: [{path: /apis}, {path: \"/api?x=1\"}]}\n", `pipeline.yaml:5:31: rehearsal.requests[0].path: no component has a route that leads there; correct the path, or add the route to a component's serve.routes`},
		{"nothing to ask for", head + "  api: {serve: {command: [a], routes: [/api]}}\n", `pipeline.yaml:1:1: rehearsal.requests: is missing, and no component's routes lead to its health path; list at least one request that users make`},
		{"nothing that is served", head + "  lib: {path: lib}\n", ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("pipeline.yaml", []byte(c.text))
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, c.want)
		})
	}
}
