package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

// base is a right file up to line 4; cases add from line 5 on.
const base = `version: 1
name: shop
components:
  web: {serve: {static: dist}}
`

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want string // every line of the error
	}{
		// The file.
		{"an empty file", "", `pipeline.yaml:1:1: the file is empty; write at least version, name and components, or let "pipeline init" write it`},
		{"a file of comments", "# later\n\n", `pipeline.yaml:1:1: the file is empty; write at least version, name and components, or let "pipeline init" write it`},
		{"a list at the top", "- version: 1\n", `pipeline.yaml:1:1: must be a mapping, but is a list; its keys are version, name, components, database, services, environments, checks, rehearsal, notify`},
		{"two documents", base + "---\nname: b\n", `pipeline.yaml:5:1: a second YAML document starts here; keep one document in the file and remove the ---`},
		{"a format of the future", "version: 2\nnmae: shop\n", `pipeline.yaml:1:10: version: format 2 is not known; this pipeline reads version: 1; for a newer format, use a newer pipeline`},
		{"a file that starts further down", "# c\n\nversion: 1\nname: shop\n", `pipeline.yaml:3:1: components: is missing; it is required: The parts of the application, by name.`},

		// YAML.
		{"a tab", "version: 1\nname: shop\ncomponents:\n\tweb: {}\n", `pipeline.yaml:4:1: not valid YAML: found character that cannot start any token; indent with spaces, YAML allows no tabs`},
		{"a bracket that is not closed", base + "services:\n  redis: {env: [A\ndatabase: {}\n", `pipeline.yaml:6:10: not valid YAML: did not find expected ',' or ']'; close the bracket, and put a text in it that has a bracket, comma, colon or question mark in quotes`},
		{"a quote that is not closed", "version: 1\nname: \"shop\ncomponents:\n  web:\n", `pipeline.yaml:2:7: not valid YAML: found unexpected end of stream; close the quote`},
		{"a quote within quotes", "version: 1\nname: 'it's'\n", `pipeline.yaml:2:11: not valid YAML: did not find expected key; check the indentation and the quotes of this line`},
		{"a colon in a text", "version: 1\nname: shop: the best\n", `pipeline.yaml:2:11: not valid YAML: mapping values are not allowed in this context; check the indentation, and put a text that contains a colon in quotes`},
		{"a line without colon", "version: 1\nname shop\ncomponents: {}\n", `pipeline.yaml:2:1: not valid YAML: could not find expected ':'; write key: value`},
		{"less indentation than its neighbours", "version: 1\ncomponents:\n    web: {}\n  api: {}\n", `pipeline.yaml:4:3: not valid YAML: did not find expected key; check the indentation and the quotes of this line`},
		{"an anchor that is nowhere", base + "checks: *mine\n", `pipeline.yaml:5:9: not valid YAML: unknown anchor; define it before its first use with &, or put the text in quotes`},
		{"an anchor that contains itself", base + "x-loop: 1\nenvironments: &all {a: *all}\n", `pipeline.yaml:6:24: environments.a: this anchor contains itself; write the value out`},
		{"a duplicate key", base + "name: again\n", `pipeline.yaml:5:1: name: duplicate key: line 2 has it already; remove one of them`},
		{"a key that is a list", base + "checks: {[a]: 1}\n", `pipeline.yaml:5:10: checks: a key must be a text, but is a list; write key: value`},
		{"a merge of what is no mapping", base + "checks: {<<: 1}\n", `pipeline.yaml:5:14: checks: << merges mappings, but this is a number; name an anchor on a mapping: <<: *base`},

		// Keys.
		{"a key with a typo", "version: 1\nname: shop\ncomponents:\n  web:\n    serve:\n      command: [serve]\n      prot: 80\n", `pipeline.yaml:7:7: components.web.serve.prot: unknown key; did you mean "port"?`},
		{"a key that belongs deeper", "version: 1\nname: shop\ncomponents:\n  web:\n    port: 80\n", `pipeline.yaml:5:5: components.web.port: unknown key; did you mean "serve.port"?`},
		{"a key like no other", base + "zzz: 1\n", `pipeline.yaml:5:1: zzz: unknown key; the keys here are: version, name, components, database, services, environments, checks, rehearsal, notify`},
		{"a required key with a typo is reported once", "version: 1\nnam: shop\ncomponents: {web: }\n", `pipeline.yaml:2:1: nam: unknown key; did you mean "name"?`},
		{"a service that is not known", base + "services: {postgress: }\n", `pipeline.yaml:5:12: services.postgress: unknown key; did you mean "postgres"?`},
		{"a step that is not known", "version: 1\nname: shop\ncomponents: {web: {commands: {units: x}}}\n", `pipeline.yaml:3:31: components.web.commands.units: unknown key; did you mean "unit"?`},
		{"a component whose name is none", "version: 1\nname: shop\ncomponents: {My_Web: }\n", `pipeline.yaml:3:14: components.My_Web: the key is not a name; write lower-case letters, digits and dashes, a letter first`},
		{"a variable whose name is none", base + "environments: {a: {env: {MY-VAR: x}}}\n", `pipeline.yaml:5:26: environments.a.env.MY-VAR: the key is not the name of a variable; write letters, digits and underscores: DATABASE_URL`},

		// Required.
		{"nothing that is required", "checks: {secrets: true}\n", `pipeline.yaml:1:1: components: is missing; it is required: The parts of the application, by name.
pipeline.yaml:1:1: name: is missing; it is required: Name of the application: in image names, the release ledger and messages.
pipeline.yaml:1:1: version: is missing; it is required: Version of this file's format: 1.`},
		{"no component", "version: 1\nname: shop\ncomponents: {}\n", `pipeline.yaml:1:1: components: is missing; it is required: The parts of the application, by name.`},
		{"a request without path", base + "rehearsal:\n  requests:\n    - {name: a}\n", `pipeline.yaml:7:7: rehearsal.requests[0].path: is missing; it is required: Path and query: /api/items?limit=10.`},
		{"an empty request", base + "rehearsal:\n  requests:\n    -\n", `pipeline.yaml:7:6: rehearsal.requests[0].path: is missing; it is required: Path and query: /api/items?limit=10.`},
		{"a Slack channel without token", base + "notify: {slack: {channel: C1}}\n", `pipeline.yaml:5:10: notify.slack.token: is missing; it is required: Reference to the bot token, never the token itself: env://SLACK_BOT_TOKEN.`},
		{"a channel that is a comment", base + "notify:\n  slack:\n    channel: #releases\n    token: env://T\n", `pipeline.yaml:7:13: notify.slack.channel: has no value; give it one or remove the line (a value that starts with # must be in quotes)`},

		// Types and values.
		{"a text for a list", "version: 1\nname: shop\ncomponents: {web: {serve: {command: npm start}}}\n", `pipeline.yaml:3:37: components.web.serve.command: must be a list, but is a text; write [a, b], or one - a line`},
		{"a list for a text", "version: 1\nname: [shop]\ncomponents: {web: }\n", `pipeline.yaml:2:7: name: must be a text, but is a list; write it on one line`},
		{"a number for a text", base + "environments: {a: {branches: [1.0]}}\n", `pipeline.yaml:5:31: environments.a.branches[0]: must be a text, but is a number; put it in quotes`},
		{"a text for a number", base + "rehearsal: {clients: \"8\"}\n", `pipeline.yaml:5:22: rehearsal.clients: must be a whole number, but is a text; write it without quotes or unit`},
		{"a fraction for a whole number", base + "rehearsal: {rate: 1.5}\n", `pipeline.yaml:5:19: rehearsal.rate: must be a whole number; write it without fraction`},
		{"a text for a switch", base + "checks: {secrets: yes}\n", `pipeline.yaml:5:19: checks.secrets: must be true or false, but is a text; write true or false, without quotes`},
		{"a text for a mapping", base + "database: migrations\n", `pipeline.yaml:5:11: database: must be a mapping, but is a text; its keys are migrations, format, env, accept, seed, budget, backup`},
		{"a list for variables", base + "environments: {a: {env: [A=b]}}\n", `pipeline.yaml:5:25: environments.a.env: must be a mapping, but is a list; write one key: value a line, indented`},
		{"a duration without unit", base + "rehearsal: {phase: 3}\n", `pipeline.yaml:5:20: rehearsal.phase: must be a duration, but is a number; write a number and a unit: 500ms, 30s, 5m`},
		{"a duration with a word", base + "rehearsal: {phase: 3 seconds}\n", `pipeline.yaml:5:20: rehearsal.phase: "3 seconds" is not a duration; write a number and a unit: 500ms, 30s, 5m`},
		{"a duration of nothing", base + "rehearsal: {phase: 0s}\n", `pipeline.yaml:5:20: rehearsal.phase: must be longer than 0; remove the line for the default`},
		{"a duration that goes back", base + "rehearsal: {phase: -3s}\n", `pipeline.yaml:5:20: rehearsal.phase: "-3s" is not a duration; write a number and a unit: 500ms, 30s, 5m`},
		{"a number out of range", base + "rehearsal: {clients: 0, requests: [{path: /, expect: 42}]}\n", `pipeline.yaml:5:22: rehearsal.clients: must be 1 or more
pipeline.yaml:5:54: rehearsal.requests[0].expect: must be from 100 to 599`},
		{"a number larger than any", base + "rehearsal: {clients: -9999999999}\n", `pipeline.yaml:5:22: rehearsal.clients: must be 1 or more`},
		{"a runtime with a typo", "version: 1\nname: shop\ncomponents: {web: {runtimes: [nodejs]}}\n", `pipeline.yaml:3:31: components.web.runtimes[0]: "nodejs" is not one of its values; did you mean "node"?`},
		{"a runtime that is not known", "version: 1\nname: shop\ncomponents: {web: {runtimes: [ruby]}}\n", `pipeline.yaml:3:31: components.web.runtimes[0]: "ruby" is not one of its values; they are: node, python`},
		{"a runtime twice", "version: 1\nname: shop\ncomponents: {web: {runtimes: [node, node]}}\n", `pipeline.yaml:3:37: components.web.runtimes[1]: is listed twice: components.web.runtimes[0] is the same; remove one`},
		{"a method in lower case", base + "rehearsal: {requests: [{path: /, method: get}]}\n", `pipeline.yaml:5:42: rehearsal.requests[0].method: "get" is not one of its values; did you mean "GET"?`},
		{"a target of the future", base + "environments: {a: {target: kubernetes}}\n", `pipeline.yaml:5:28: environments.a.target: "kubernetes" is not supported yet; today there is local`},
		{"a strategy of the future", base + "environments: {a: {strategy: canary}}\n", `pipeline.yaml:5:30: environments.a.strategy: "canary" is not supported yet; today there is blue-green`},
		{"a strategy that is not known", base + "environments: {a: {strategy: bluegreen}}\n", `pipeline.yaml:5:30: environments.a.strategy: "bluegreen" is not one of its values; did you mean "blue-green"?`},
		{"a name with capitals", "version: 1\nname: My Shop\ncomponents: {web: }\n", `pipeline.yaml:2:7: name: "My Shop" is not a name; write lower-case letters, digits and dashes, a letter first`},
		{"a route without slash", "version: 1\nname: shop\ncomponents: {web: {serve: {static: dist, routes: [api]}}}\n", `pipeline.yaml:3:51: components.web.serve.routes[0]: "api" is not a path prefix; start with a slash and use no wildcard: /api takes everything below it`},
		{"a route with a wildcard", "version: 1\nname: shop\ncomponents: {web: {serve: {static: dist, routes: [/api/*]}}}\n", `pipeline.yaml:3:51: components.web.serve.routes[0]: "/api/*" is not a path prefix; start with a slash and use no wildcard: /api takes everything below it`},
		{"a glob that is none", base + "environments: {a: {branches: [\"rel[\"]}}\n", `pipeline.yaml:5:31: environments.a.branches[0]: "rel[" is not a glob; write a name or a glob: main, release/*, v*`},
		{"a package with an option", "version: 1\nname: shop\ncomponents: {web: {packages: [--force-yes]}}\n", `pipeline.yaml:3:31: components.web.packages[0]: "--force-yes" is not a Debian package; write the package's name alone: ffmpeg`},
		{"a body that JSON cannot hold", base + "rehearsal: {requests: [{path: /, method: POST, json: {a: .nan}}]}\n", `pipeline.yaml:5:58: rehearsal.requests[0].json.a: a number that JSON cannot hold; put it in quotes`},

		{"a mistake in an anchor is reported once, where it is", `version: 1
name: shop
x-serve: &serve {static: dist, prot: 1}
components:
  web: {serve: *serve}
  api: {serve: {<<: *serve, routes: [/api]}}
`, `pipeline.yaml:3:32: components.web.serve.prot: unknown key; did you mean "port"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("pipeline.yaml", []byte(c.text))
			require.Error(t, err)
			assert.Equal(t, c.want, err.Error())
		})
	}
}

func TestEveryProblemIsReportedInOrder(t *testing.T) {
	_, err := config.Parse("apps/shop/pipeline.yaml", []byte(`version: 1
name: Shop
components:
  web:
    pth: web
    serve: {static: dist, start: soon}
  api:
    serve: {comand: [serve], routes: [api]}
environments:
  production: {tags: v*, target: moon}
`))
	assert.EqualError(t, err, `apps/shop/pipeline.yaml:2:7: name: "Shop" is not a name; write lower-case letters, digits and dashes, a letter first
apps/shop/pipeline.yaml:5:5: components.web.pth: unknown key; did you mean "path"?
apps/shop/pipeline.yaml:6:34: components.web.serve.start: "soon" is not a duration; write a number and a unit: 500ms, 30s, 5m
apps/shop/pipeline.yaml:8:13: components.api.serve.comand: unknown key; did you mean "command"?
apps/shop/pipeline.yaml:8:39: components.api.serve.routes[0]: "api" is not a path prefix; start with a slash and use no wildcard: /api takes everything below it
apps/shop/pipeline.yaml:10:22: environments.production.tags: must be a list, but is a text; write [a, b], or one - a line
apps/shop/pipeline.yaml:10:34: environments.production.target: "moon" is not one of its values; they are: local`)

	var all *config.Errors
	require.ErrorAs(t, err, &all)
	assert.Len(t, all.Problems, 7)
	var first config.Problem
	require.True(t, errors.As(err, &first))
	assert.Equal(t, config.Problem{File: "apps/shop/pipeline.yaml", Line: 2, Column: 7, Path: "name",
		Message: `"Shop" is not a name`, Hint: "write lower-case letters, digits and dashes, a letter first"}, first)
}

func TestHostileFilesCostLittle(t *testing.T) {
	var bomb, mistakes strings.Builder
	bomb.WriteString(base + "rehearsal:\n  requests:\n    - path: /\n      method: POST\n      json:\n        l0: &l0 x\n")
	for i := range 12 {
		refs := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i), 9), ", ")
		fmt.Fprintf(&bomb, "        l%d: &l%d [%s]\n", i+1, i+1, refs)
	}
	mistakes.WriteString(base)
	for i := range 20_000 {
		fmt.Fprintf(&mistakes, "zz%d: 1\n", i)
	}
	for _, c := range []struct{ name, text, message string }{
		{"aliases of aliases", bomb.String(), "once its aliases are expanded"},
		{"deep nesting", base + "rehearsal: {requests: [{path: /, method: POST, json: " + strings.Repeat("[", 500) + strings.Repeat("]", 500) + "}]}\n", "nested more than 50 deep"},
		{"a very long list", base + "environments: {a: {branches: [" + strings.Repeat("a, ", 2000) + "b]}}\n", "more than 1000 items"},
		{"a very large file", base + "# " + strings.Repeat("x", 2<<20), "larger than"},
		{"very many mistakes", mistakes.String(), "unknown key"},
		{"a long list that is not closed", "a: [\n" + strings.Repeat("  b,\n", 5000), "not valid YAML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("pipeline.yaml", []byte(c.text))
			var all *config.Errors
			require.ErrorAs(t, err, &all)
			assert.LessOrEqual(t, len(all.Problems), 100)
			assert.ErrorContains(t, err, c.message)
		})
	}
}
