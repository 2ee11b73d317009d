package config

import (
	"cmp"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The defaults. They suit what `npm create vite` makes and a FastAPI application beside it.
const (
	DefaultRoute           = "/"
	DefaultStaticHealth    = "/"        // a static component is alive when it serves its page
	DefaultCommandHealth   = "/healthz" // what Kubernetes made the custom
	DefaultStart           = 30 * time.Second
	DefaultStop            = 10 * time.Second // as Docker and Kamal wait
	DefaultMigrations      = "migrations"
	DefaultBlocked         = 500 * time.Millisecond // half of what ends a user's train of thought (Nielsen, Usability Engineering, 5.5)
	DefaultMigrating       = 15 * time.Minute       // as long as a statement may take by default
	DefaultBackups         = "backups"
	DefaultKeep            = 7
	DefaultDatabaseEnv     = "DATABASE_URL"
	DefaultRedisEnv        = "REDIS_URL"
	DefaultPostgresVersion = "17"
	DefaultRedisVersion    = "8"
	DefaultTarget          = Local
	DefaultStrategy        = BlueGreen
	DefaultSecretsCheck    = true
	DefaultClients         = 8
	DefaultRate            = 50 // requests a second: enough to see a gap of 20 ms, little enough for a laptop
	DefaultPhase           = 3 * time.Second
	DefaultMethod          = "GET"
	DefaultFileField       = "file"
	DefaultSlackAPI        = "https://slack.com/api/"
)

// fixed are the defaults that depend on nothing else, by type and key: the decoder fills them in, Schema shows them.
var fixed = map[reflect.Type]map[string]any{
	reflect.TypeFor[Serve]():       {"start": DefaultStart, "stop": DefaultStop},
	reflect.TypeFor[Database]():    {"migrations": DefaultMigrations},
	reflect.TypeFor[Budget]():      {"blocked_reads": DefaultBlocked, "blocked_writes": DefaultBlocked, "duration": DefaultMigrating},
	reflect.TypeFor[Backup]():      {"dir": DefaultBackups, "keep": DefaultKeep},
	reflect.TypeFor[Environment](): {"target": DefaultTarget, "strategy": DefaultStrategy},
	reflect.TypeFor[Checks]():      {"secrets": DefaultSecretsCheck},
	reflect.TypeFor[Rehearsal]():   {"clients": DefaultClients, "rate": DefaultRate, "phase": DefaultPhase},
	reflect.TypeFor[Request]():     {"method": DefaultMethod},
	reflect.TypeFor[File]():        {"field": DefaultFileField},
	reflect.TypeFor[Slack]():       {"api_url": DefaultSlackAPI},
}

// setDefaults fills in the defaults that depend on other values. Doing it twice changes nothing.
func (c *Config) setDefaults() {
	for name, component := range c.Components {
		component.Path = cmp.Or(component.Path, name)
		if s := component.Serve; s != nil {
			if len(s.Routes) == 0 {
				s.Routes = []string{DefaultRoute}
			}
			if s.Health == "" {
				s.Health = DefaultCommandHealth
				if s.Static != "" {
					s.Health = DefaultStaticHealth
				}
			}
			s.Ready = cmp.Or(s.Ready, s.Health)
		}
		c.Components[name] = component
	}
	c.setServiceDefaults()
	for i := range c.Rehearsal.Requests {
		r := &c.Rehearsal.Requests[i]
		r.Name = cmp.Or(r.Name, r.Method+" "+r.Path)
	}
	if len(c.Rehearsal.Requests) == 0 {
		c.Rehearsal.Requests = c.healthRequests()
	}
}

func (c *Config) setServiceDefaults() {
	if c.Database != nil {
		if c.Services == nil {
			c.Services = map[string]Service{}
		}
		postgres := c.Services[Postgres]
		postgres.Env = cmp.Or(postgres.Env, c.Database.Env)
		c.Services[Postgres] = postgres
	}
	for name, s := range c.Services {
		switch name {
		case Postgres:
			s.Version, s.Env = cmp.Or(s.Version, DefaultPostgresVersion), cmp.Or(s.Env, DefaultDatabaseEnv)
		case Redis:
			s.Version, s.Env = cmp.Or(s.Version, DefaultRedisVersion), cmp.Or(s.Env, DefaultRedisEnv)
		}
		c.Services[name] = s
	}
	if c.Database != nil {
		c.Database.Env = cmp.Or(c.Database.Env, c.Services[Postgres].Env)
	}
}

// healthRequests asks each served component for its health path, leaving out those that the router would send elsewhere:
// /healthz of a backend that has only /api.
func (c *Config) healthRequests() []Request {
	var requests []Request
	for _, name := range slices.Sorted(maps.Keys(c.Components)) {
		serve := c.Components[name].Serve
		if serve == nil {
			continue
		}
		if to, ok := c.routed(serve.Health); !ok || to != name {
			continue
		}
		requests = append(requests, Request{Name: DefaultMethod + " " + serve.Health, Method: DefaultMethod, Path: serve.Health})
	}
	return requests
}

// routed returns the component that the router sends a path to: the one with the longest prefix of whole segments.
func (c *Config) routed(path string) (component string, ok bool) {
	if u, err := url.Parse(path); err == nil {
		path = u.Path
	}
	longest := -1
	for _, name := range slices.Sorted(maps.Keys(c.Components)) {
		serve := c.Components[name].Serve
		if serve == nil {
			continue
		}
		for _, route := range serve.Routes {
			prefix := strings.TrimSuffix(route, "/")
			if rest, found := strings.CutPrefix(path, prefix); found && (rest == "" || rest[0] == '/') && len(prefix) > longest {
				component, longest = name, len(prefix)
			}
		}
	}
	return component, longest >= 0
}
