// Package config reads pipeline.yaml: everything about an application's pipeline that is not code. It checks offline
// (unknown keys, types, cross references) and says where, why and what to do. It runs nothing and reads no secret.
package config

import "time"

// FileName is the name of the configuration file at the application's root.
const FileName = "pipeline.yaml"

// Config is pipeline.yaml.
type Config struct {
	Version      int                    `yaml:"version"`
	Name         string                 `yaml:"name"`
	Components   map[string]Component   `yaml:"components"`
	Database     *Database              `yaml:"database"`
	Services     map[string]Service     `yaml:"services"` // "postgres", "redis"
	Environments map[string]Environment `yaml:"environments"`
	Checks       Checks                 `yaml:"checks"`
	Rehearsal    Rehearsal              `yaml:"rehearsal"`
	Notify       Notify                 `yaml:"notify"`
}

// Runtime is a language runtime a component needs.
type Runtime string

// The runtimes.
const (
	Node   Runtime = "node"
	Python Runtime = "python"
)

// Component is one part of the application: a Node package, a Python package, or both in one directory.
type Component struct {
	Path     string            `yaml:"path"` // relative to the file, "." for the root
	Runtimes []Runtime         `yaml:"runtimes"`
	Packages []string          `yaml:"packages"` // Debian packages it needs at run time
	Inputs   []string          `yaml:"inputs"`   // further files or directories its steps read, relative to Path
	Env      map[string]string `yaml:"env"`      // values may be secret references in environments only
	Serve    *Serve            `yaml:"serve"`    // nil: built and tested, not deployed
	// Commands replaces what the application's own files suggest for a step: "unit": "npm run test:ci".
	// An empty string turns the step off.
	Commands map[string]string `yaml:"commands"`
	// Timeouts bounds a step: "unit": 5m.
	Timeouts map[string]time.Duration `yaml:"timeouts"`
}

// Serve says how a component runs in a deployment slot: a command, or a directory of static files.
type Serve struct {
	Command []string `yaml:"command"` // $PORT and $HOST are replaced
	Static  string   `yaml:"static"`  // directory that the build makes, relative to the component's path
	Routes  []string `yaml:"routes"`  // path prefixes the router sends here; the longest match wins
	// Port is the port the command listens on where it cannot be told one by $PORT; 0 means any.
	Port    int           `yaml:"port"`
	Health  string        `yaml:"health"`  // path that answers 200 while the process is alive
	Ready   string        `yaml:"ready"`   // path that answers 200 when it can take traffic; default: Health
	Version string        `yaml:"version"` // path whose answer contains the release; optional
	Start   time.Duration `yaml:"start"`   // how long it may take to become ready; default 30s
	Stop    time.Duration `yaml:"stop"`    // from SIGTERM to SIGKILL; default 10s
}

// Database names the migrations and how the application finds its database.
type Database struct {
	Migrations string `yaml:"migrations"` // directory, relative to the file
	Format     string `yaml:"format"`     // "drizzle" or "sql"; default: found by looking
	Env        string `yaml:"env"`        // default DATABASE_URL
}

// Service is a server the application needs.
type Service struct {
	Version string `yaml:"version"` // major version; default 17 for postgres, 8 for redis
	Env     string `yaml:"env"`     // variable that holds its URL; default DATABASE_URL, REDIS_URL
}

// Environment is a place a release is deployed to.
type Environment struct {
	Branches []string          `yaml:"branches"` // globs
	Tags     []string          `yaml:"tags"`     // globs
	Target   string            `yaml:"target"`   // "local"
	Strategy string            `yaml:"strategy"` // "blue-green"
	URL      string            `yaml:"url"`      // where users reach it; its version path tells what runs there now
	Env      map[string]string `yaml:"env"`      // values may be references: env://NAME, file://PATH, op://, vault://, cmd://
}

// Checks turns checks of the whole repository on and off.
type Checks struct {
	Secrets *bool `yaml:"secrets"` // gitleaks; default on
}

// Rehearsal is the traffic of a rehearsal.
type Rehearsal struct {
	Clients  int           `yaml:"clients"`  // concurrent keep-alive clients; default 8
	Rate     int           `yaml:"rate"`     // requests a second over all clients; default 50
	Phase    time.Duration `yaml:"phase"`    // how long each phase of traffic lasts; default 3s
	Requests []Request     `yaml:"requests"` // default: GET on the health path of every served component
}

// Request is one request of the rehearsal's traffic and of the smoke test.
type Request struct {
	Name    string            `yaml:"name"`
	Method  string            `yaml:"method"` // default GET
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	JSON    any               `yaml:"json"`
	File    *File             `yaml:"file"`   // multipart/form-data upload
	Expect  int               `yaml:"expect"` // status; default: any below 400
}

// File is a file sent as multipart/form-data.
type File struct {
	Field string `yaml:"field"`
	Path  string `yaml:"path"` // relative to pipeline.yaml
}

// Notify says whom to tell.
type Notify struct {
	Slack *Slack `yaml:"slack"`
}

// Slack is a channel and the bot token to post with.
type Slack struct {
	Channel string `yaml:"channel"`
	Token   string `yaml:"token"` // reference: env://SLACK_BOT_TOKEN
	APIURL  string `yaml:"api_url"`
}
