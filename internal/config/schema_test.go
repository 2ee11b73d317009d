package config_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/metaextract/pipeline/internal/config"
)

var update = flag.Bool("update", false, "write pipeline.schema.json and the golden files anew")

// golden compares data with a committed file, or writes it with -update.
func golden(t *testing.T, file string, data []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, data, 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(data), "%s has drifted: run go generate ./internal/config, or go test ./internal/config -update", file)
}

func TestSchemaIsTheCommittedOne(t *testing.T) {
	data, err := config.Schema()
	require.NoError(t, err)
	golden(t, "../../pipeline.schema.json", data)
}

// validator checks YAML text against the schema, as an editor does.
func validator(t *testing.T) func(text string) error {
	t.Helper()
	data, err := config.Schema()
	require.NoError(t, err)
	var schema jsonschema.Schema
	require.NoError(t, json.Unmarshal(data, &schema))
	resolved, err := schema.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	require.NoError(t, err)
	return func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			return err
		}
		data, err := json.Marshal(v) // numbers and keys as JSON has them
		if err != nil {
			return err
		}
		var instance any
		if err := json.Unmarshal(data, &instance); err != nil {
			return err
		}
		return resolved.Validate(instance)
	}
}

func TestSchemaAndParseAgree(t *testing.T) {
	valid := validator(t)
	good := map[string]string{
		"the smallest file": minimal,
		"empty sections":    minimal + "database:\nservices:\nenvironments:\nchecks:\nrehearsal:\nnotify:\n",
		"empty elements":    "version: 1\nname: a\ncomponents: {web: , api: {env: , inputs: , serve: }}\nservices: {redis: }\nenvironments: {a: , b: {tags: , env: }}\n",
		"anchors":           minimal + "x-tags: &t [\"v*\"]\nenvironments: {a: {tags: *t}}\n",
		"numbers for texts": minimal + "services: {postgres: {version: 17}}\nenvironments: {a: {env: {A: 1, B: true, C: 1.5}}}\n",
		"any JSON":          minimal + "rehearsal: {requests: [{path: /, method: POST, json: [1, {a: null}]}]}\n",
	}
	for _, name := range samples {
		data, err := os.ReadFile(filepath.Join("../../testdata", name, config.FileName))
		require.NoError(t, err)
		good[name] = string(data)
	}
	for name, text := range good {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("pipeline.yaml", []byte(text))
			assert.NoError(t, err)
			assert.NoError(t, valid(text))
		})
	}
	web := "version: 1\nname: shop\ncomponents: {web: "
	for name, text := range map[string]string{
		"a list":                          "- a\n",
		"a format of the future":          strings.Replace(minimal, "version: 1", "version: 2", 1),
		"no version":                      "name: shop\ncomponents: {web: }\n",
		"no component":                    "version: 1\nname: shop\ncomponents: {}\n",
		"a name with capitals":            "version: 1\nname: Shop\ncomponents: {web: }\n",
		"an unknown key":                  minimal + "srevices: {}\n",
		"an unknown key further down":     web + "{serve: {static: dist, prot: 1}}}\n",
		"an unknown service":              minimal + "services: {mysql: }\n",
		"an unknown step":                 web + "{timeouts: {units: 1m}}}\n",
		"a component's name":              "version: 1\nname: shop\ncomponents: {My_Web: }\n",
		"a text for a list":               web + "{serve: {command: npm start}}}\n",
		"a number for a text":             web + "{path: 1}}\n",
		"a number for a duration":         web + "{timeouts: {unit: 5}}}\n",
		"a duration without unit":         web + "{timeouts: {unit: \"5\"}}}\n",
		"an absolute path":                web + "{path: /srv}}\n",
		"a route without slash":           web + "{serve: {static: dist, routes: [api]}}}\n",
		"a runtime that is not known":     web + "{runtimes: [ruby]}}\n",
		"a runtime twice":                 web + "{runtimes: [node, node]}}\n",
		"serve with nothing":              web + "{serve: {routes: [/]}}}\n",
		"serve with both":                 web + "{serve: {static: dist, command: [a]}}}\n",
		"a port out of range":             web + "{serve: {command: [a], port: 70000}}}\n",
		"a target that is to come":        minimal + "environments: {a: {target: kubernetes}}\n",
		"a strategy that is to come":      minimal + "environments: {a: {strategy: canary}}\n",
		"a token in place of a reference": minimal + "notify: {slack: {channel: C1, token: abc}}\n",
		"Slack without token":             minimal + "notify: {slack: {channel: C1}}\n",
		"a request without path":          minimal + "rehearsal: {requests: [{name: a}]}\n",
		"an empty request":                minimal + "rehearsal: {requests: [null]}\n",
		"no client":                       minimal + "rehearsal: {clients: 0}\n",
		"a fraction of a client":          minimal + "rehearsal: {clients: 1.5}\n",
		"a text for a switch":             minimal + "checks: {secrets: \"yes\"}\n",
		"an empty switch":                 minimal + "checks: {secrets: }\n",
		"a variable without value":        minimal + "environments: {a: {env: {A: }}}\n",
		"a variable's name":               minimal + "environments: {a: {env: {A-B: x}}}\n",
		"a status":                        minimal + "rehearsal: {requests: [{path: /, expect: 42}]}\n",
		"a method":                        minimal + "rehearsal: {requests: [{path: /, method: get}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("pipeline.yaml", []byte(text))
			assert.Error(t, err, "Parse takes it")
			assert.Error(t, valid(text), "the schema takes it")
		})
	}
}

// What the schema shows as a default is what Parse fills in.
func TestSchemaShowsTheDefaults(t *testing.T) {
	c := parse(t, `version: 1
name: shop
components: {web: {serve: {static: dist}}}
database: {env: A}
environments: {a: {env: {}}}
rehearsal: {requests: [{path: /, method: POST, file: {path: a}}, {path: /}]}
notify: {slack: {channel: C1, token: env://T}}
`)
	data, err := config.Schema()
	require.NoError(t, err)
	shown := map[string]any{}
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		if d, ok := schema["default"]; ok {
			shown[path] = d
		}
		if items, ok := schema["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		if inner, ok := schema["additionalProperties"].(map[string]any); ok {
			walk(path+".*", inner)
		}
		for key, p := range asMap(schema["properties"]) {
			walk(strings.TrimPrefix(path+"."+key, "."), asMap(p))
		}
	}
	var root map[string]any
	require.NoError(t, json.Unmarshal(data, &root))
	walk("", root)
	serve, env, slack := c.Components["web"].Serve, c.Environments["a"], c.Notify.Slack
	assert.Equal(t, map[string]any{
		"components.*.serve.start":        serve.Start.String(),
		"components.*.serve.stop":         serve.Stop.String(),
		"database.migrations":             c.Database.Migrations,
		"database.budget.blocked_reads":   c.Database.Budget.BlockedReads.String(),
		"database.budget.blocked_writes":  c.Database.Budget.BlockedWrites.String(),
		"database.budget.duration":        strings.TrimSuffix(c.Database.Budget.Duration.String(), "0s"),
		"database.backup.dir":             c.Database.Backup.Dir,
		"database.backup.keep":            float64(c.Database.Backup.Keep),
		"environments.*.target":           env.Target,
		"environments.*.strategy":         env.Strategy,
		"checks.secrets":                  *c.Checks.Secrets,
		"rehearsal.clients":               float64(c.Rehearsal.Clients),
		"rehearsal.rate":                  float64(c.Rehearsal.Rate),
		"rehearsal.phase":                 c.Rehearsal.Phase.String(),
		"rehearsal.requests[].method":     c.Rehearsal.Requests[1].Method,
		"rehearsal.requests[].file.field": c.Rehearsal.Requests[0].File.Field,
		"notify.slack.api_url":            slack.APIURL,
	}, shown)
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	data, err := config.Schema()
	require.NoError(t, err)
	var walk func(path string, schema map[string]any)
	walk = func(path string, schema map[string]any) {
		for key, p := range asMap(schema["properties"]) {
			inner := asMap(p)
			if parent := path[strings.LastIndexByte(path, '.')+1:]; parent != "services" && parent != "commands" && parent != "timeouts" {
				assert.NotEmpty(t, inner["description"], path+"."+key)
			}
			walk(path+"."+key, inner)
		}
		walk2 := asMap(schema["additionalProperties"])
		if len(walk2) > 0 {
			walk(path+".*", walk2)
		}
		if items := asMap(schema["items"]); len(items) > 0 {
			walk(path+"[]", items)
		}
	}
	var root map[string]any
	require.NoError(t, json.Unmarshal(data, &root))
	walk("", root)
}
