// Package config reads pipeline.yaml: everything about an application's pipeline that is not code. It checks offline
// (unknown keys, types, cross references) and says where, why and what to do. It runs nothing and reads no secret.
//
// The struct tags of the types here are the one definition of the file's format: the decoder follows them and Schema
// writes them down as JSON Schema for editors. See rules for what each tag means.
package config

import "time"

// FileName is the name of the configuration file at the application's root.
const FileName = "pipeline.yaml"

// FormatVersion is the only version of the file's format there is.
const FormatVersion = 1

// Config is pipeline.yaml, with every default filled in.
type Config struct {
	Version      int                    `yaml:"version" required:"true" min:"1" max:"1" doc:"Version of this file's format: 1."`
	Name         string                 `yaml:"name" required:"true" is:"name" doc:"Name of the application: in image names, the release ledger and messages."`
	Components   map[string]Component   `yaml:"components" required:"true" keyis:"name" doc:"The parts of the application, by name."`
	Database     *Database              `yaml:"database" doc:"The application's PostgreSQL database and its migrations. It implies services.postgres."`
	Services     map[string]Service     `yaml:"services" keys:"service" doc:"The servers the application needs, started fresh for integration tests and rehearsals."`
	Environments map[string]Environment `yaml:"environments" keyis:"name" doc:"The places releases are deployed to, by name."`
	Checks       Checks                 `yaml:"checks" doc:"Checks of the whole repository."`
	Rehearsal    Rehearsal              `yaml:"rehearsal" doc:"The traffic of a rehearsal, which is also the smoke test."`
	Notify       Notify                 `yaml:"notify" doc:"Whom to tell about a deployment."`

	places *places // where each value is written; nil where the Config was not parsed
}

// Checks turns checks of the whole repository on and off.
type Checks struct {
	Secrets *bool `yaml:"secrets" doc:"Look for committed credentials with gitleaks."` // never nil after Parse
}

// Service is a server the application needs.
type Service struct {
	Version string `yaml:"version" is:"version" also:"number" doc:"Major version. Default: 17 for postgres, 8 for redis."`
	Env     string `yaml:"env" is:"variable" doc:"Variable that holds its URL. Default: DATABASE_URL for postgres, REDIS_URL for redis."`
	Prefix  string `yaml:"prefix" doc:"Of redis alone: what every key begins with, {release} for the release: \"shop:{release}:\". Without it, keys are shared by the running release and the next."`
}

// The services, by their names in the file.
const (
	Postgres = "postgres"
	Redis    = "redis"
)

var serviceNames = []string{Postgres, Redis}

// Notify says whom to tell.
type Notify struct {
	Slack *Slack `yaml:"slack" doc:"A Slack channel: one message per deployment, updated in place."`
}

// Slack is a channel and the bot token to post with.
type Slack struct {
	Channel string `yaml:"channel" required:"true" doc:"Channel id, or name in quotes: \"#releases\"."`
	Token   string `yaml:"token" required:"true" is:"reference" doc:"Reference to the bot token, never the token itself: env://SLACK_BOT_TOKEN."`
	APIURL  string `yaml:"api_url" is:"url" doc:"Where Slack's API is, for a proxy or a test."`
}

// Rehearsal is the traffic of a rehearsal.
type Rehearsal struct {
	Clients int           `yaml:"clients" min:"1" doc:"Concurrent keep-alive clients."`
	Rate    int           `yaml:"rate" min:"1" doc:"Requests a second over all clients."`
	Phase   time.Duration `yaml:"phase" doc:"How long each phase of traffic lasts: 3s."`
	// Requests are by default a GET on the health path of every served component that its routes lead to.
	Requests []Request `yaml:"requests" doc:"The requests, sent in turn. Default: GET on the health path of every served component that its routes lead to."`
}

// Request is one request of the rehearsal's traffic and of the smoke test.
type Request struct {
	Name    string            `yaml:"name" doc:"What reports call it. Default: method and path."`
	Method  string            `yaml:"method" enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS" doc:"HTTP method."`
	Path    string            `yaml:"path" required:"true" is:"urlpath" doc:"Path and query: /api/items?limit=10."`
	Headers map[string]string `yaml:"headers" keyis:"header" also:"number,boolean" doc:"Further request headers."`
	Body    string            `yaml:"body" doc:"Body, sent as it is."`
	JSON    any               `yaml:"json" doc:"Body, sent as JSON."`
	File    *File             `yaml:"file" doc:"Body: a file uploaded as multipart/form-data."`
	Expect  int               `yaml:"expect" min:"100" max:"599" doc:"Status that the answer must have. Default: any below 400."` // 0: any below 400
}

// File is a file sent as multipart/form-data.
type File struct {
	Field string `yaml:"field" doc:"Name of the form field."`
	Path  string `yaml:"path" required:"true" is:"path" doc:"The file, relative to pipeline.yaml."`
}
