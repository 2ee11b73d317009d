package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

const minimal = `version: 1
name: shop
components:
  web: {serve: {static: dist}}
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("pipeline.yaml", []byte(text))
	require.NoError(t, err)
	return c
}

func TestDefaultsOfTheSmallestFile(t *testing.T) {
	c := parse(t, minimal)
	web := c.Components["web"]
	assert.Equal(t, "web", web.Path)
	assert.Equal(t, &config.Serve{Static: "dist", Routes: []string{"/"}, Health: "/", Ready: "/",
		Start: 30 * time.Second, Stop: 10 * time.Second}, web.Serve)
	assert.True(t, *c.Checks.Secrets)
	assert.Equal(t, config.Rehearsal{Clients: 8, Rate: 50, Phase: 3 * time.Second,
		Requests: []config.Request{{Name: "GET /", Method: "GET", Path: "/"}}}, c.Rehearsal)
	assert.Nil(t, c.Database)
	assert.Empty(t, c.Services)
	assert.Empty(t, c.Environments)
	assert.Nil(t, c.Notify.Slack)
}

func TestDefaultsThatDependOnOtherValues(t *testing.T) {
	t.Run("a command is healthy at /healthz and ready where it is healthy", func(t *testing.T) {
		c := parse(t, "version: 1\nname: shop\ncomponents: {api: {serve: {command: [serve], health: /up}}, web: {serve: {command: [serve], routes: [/web]}}}\n")
		assert.Equal(t, "/up", c.Components["api"].Serve.Ready)
		assert.Equal(t, "/healthz", c.Components["web"].Serve.Health)
	})
	t.Run("a database brings its server along", func(t *testing.T) {
		c := parse(t, minimal+"database:\n")
		assert.Nil(t, c.Database, "an empty section is none")
		c = parse(t, minimal+"database: {env: PG_URL}\n")
		assert.Equal(t, &config.Database{
			Migrations: "migrations", Env: "PG_URL", Backup: config.Backup{Dir: "backups", Keep: 7},
			Budget: config.Budget{BlockedReads: 500 * time.Millisecond, BlockedWrites: 500 * time.Millisecond, Duration: 15 * time.Minute},
		}, c.Database)
		assert.Equal(t, map[string]config.Service{"postgres": {Version: "17", Env: "PG_URL"}}, c.Services)
		c = parse(t, minimal+"database: {migrations: db}\nservices: {postgres: {env: PG_URL}}\n")
		assert.Equal(t, "PG_URL", c.Database.Env)
	})
	t.Run("a service may be named alone", func(t *testing.T) {
		c := parse(t, minimal+"services:\n  redis:\n  postgres: {version: 16}\n")
		assert.Equal(t, map[string]config.Service{"postgres": {Version: "16", Env: "DATABASE_URL"}, "redis": {Version: "8", Env: "REDIS_URL"}}, c.Services)
	})
	t.Run("health requests go only where the routes lead to their component", func(t *testing.T) {
		c := parse(t, "version: 1\nname: shop\ncomponents: {web: {serve: {static: dist}}, api: {serve: {command: [serve], routes: [/api]}}, admin: {serve: {command: [serve], routes: [/admin], health: /admin/up}}}\n")
		var paths []string
		for _, r := range c.Rehearsal.Requests {
			paths = append(paths, r.Path)
		}
		assert.Equal(t, []string{"/admin/up", "/"}, paths)
	})
	t.Run("a request is called by its method and path", func(t *testing.T) {
		c := parse(t, minimal+"rehearsal: {requests: [{path: /a}, {path: /a, method: POST, file: {path: a.jpg}}]}\n")
		assert.Equal(t, "GET /a", c.Rehearsal.Requests[0].Name)
		assert.Equal(t, "POST /a", c.Rehearsal.Requests[1].Name)
		assert.Equal(t, "file", c.Rehearsal.Requests[1].File.Field)
	})
	t.Run("an environment is local and blue-green, Slack's API is Slack's", func(t *testing.T) {
		c := parse(t, minimal+"environments: {staging: }\nnotify: {slack: {channel: \"#releases\", token: env://T}}\n")
		assert.Equal(t, config.Environment{Target: "local", Strategy: "blue-green"}, c.Environments["staging"])
		assert.Equal(t, "https://slack.com/api/", c.Notify.Slack.APIURL)
	})
}

func TestYAMLIsReadAsPeopleWriteIt(t *testing.T) {
	t.Run("anchors and merge keys", func(t *testing.T) {
		c := parse(t, `version: 1
name: shop
x-serve: &serve {start: 1m, stop: 5s, command: [serve]}
x-env: &env {LEVEL: info, MODE: fast}
components:
  a: &a
    env: &aenv
      <<: *env
      LEVEL: debug
    serve: {<<: *serve, stop: 7s, routes: [/a], health: /a/up}
  b:
    <<: *a
    serve: {<<: [{start: 2m}, *serve], routes: [/b], health: &up /b/up, ready: *up}
    env: *aenv
`)
		a, b := c.Components["a"], c.Components["b"]
		assert.Equal(t, map[string]string{"LEVEL": "debug", "MODE": "fast"}, a.Env)
		assert.Equal(t, a.Env, b.Env)
		assert.Equal(t, time.Minute, a.Serve.Start)
		assert.Equal(t, 7*time.Second, a.Serve.Stop, "what is written wins over what is merged")
		assert.Equal(t, 2*time.Minute, b.Serve.Start, "an earlier merged mapping wins over a later")
		assert.Equal(t, "/b/up", b.Serve.Ready)
		assert.NotSame(t, a.Serve, b.Serve)
	})
	t.Run("numbers and booleans in variables keep their spelling", func(t *testing.T) {
		c := parse(t, minimal+"environments: {staging: {env: {PORT: 0o17, LEVEL: 1.10, DEBUG: yes, TRACE: True, DAY: 2026-01-02}}}\n")
		assert.Equal(t, map[string]string{"PORT": "0o17", "LEVEL": "1.10", "DEBUG": "yes", "TRACE": "True", "DAY": "2026-01-02"}, c.Environments["staging"].Env)
	})
	t.Run("sections whose content is commented out", func(t *testing.T) {
		c := parse(t, minimal+"environments:\n  # staging: {}\nrehearsal:\nnotify:\nchecks:\nservices:\n")
		assert.Equal(t, 8, c.Rehearsal.Clients)
		assert.True(t, *c.Checks.Secrets)
	})
	t.Run("JSON bodies of any shape", func(t *testing.T) {
		c := parse(t, minimal+"rehearsal: {requests: [{path: /, method: POST, json: {a: [1, 2.5, true, null, x], 2: {b: \"\"}}}]}\n")
		assert.Equal(t, map[string]any{"a": []any{1, 2.5, true, nil, "x"}, "2": map[string]any{"b": ""}}, c.Rehearsal.Requests[0].JSON)
	})
	t.Run("paths and routes are cleaned", func(t *testing.T) {
		c := parse(t, "version: 1\nname: shop\ncomponents: {web: {path: ./web/, inputs: [../shared/], serve: {static: ./dist/, routes: [/app/, /]}}}\ndatabase: {migrations: ./db/}\n")
		assert.Equal(t, "web", c.Components["web"].Path)
		assert.Equal(t, "dist", c.Components["web"].Serve.Static)
		assert.Equal(t, []string{"/app", "/"}, c.Components["web"].Serve.Routes)
		assert.Equal(t, "db", c.Database.Migrations)
	})
	t.Run("a reference stays a reference", func(t *testing.T) {
		c := parse(t, minimal+"environments: {production: {env: {API_TOKEN: \"op://vault/item/field\", DATABASE_URL: env://PROD_URL, KEY: \"aws+sm://key\"}}}\n")
		for name, value := range c.Environments["production"].Env {
			assert.True(t, config.IsReference(value), name)
		}
	})
	t.Run("a step turned off, and one with a time limit", func(t *testing.T) {
		c := parse(t, strings.Replace(minimal, "serve:", `commands: {lint: "", unit: npm run test:ci}, timeouts: {unit: 5m}, serve:`, 1))
		assert.Equal(t, map[string]string{"lint": "", "unit": "npm run test:ci"}, c.Components["web"].Commands)
		assert.Equal(t, map[string]time.Duration{"unit": 5 * time.Minute}, c.Components["web"].Timeouts)
	})
}
