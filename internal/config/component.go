package config

import "time"

// Runtime is a language runtime a component needs.
type Runtime string

// The runtimes.
const (
	Node   Runtime = "node"
	Python Runtime = "python"
)

// stepNames are the steps of a component that commands and timeouts can name. A component with both runtimes has two of
// each kind of check and test, told apart by a suffix.
var stepNames = []string{"install", "lint", "typecheck", "unit", "property", "integration", "build",
	"lint-node", "typecheck-node", "unit-node", "property-node", "integration-node",
	"lint-python", "typecheck-python", "unit-python", "property-python", "integration-python"}

// Component is one part of the application: a Node package, a Python package, or both in one directory.
type Component struct {
	Path string `yaml:"path" is:"path" doc:"Directory, relative to this file; . for the root. Default: the component's name."`
	// Runtimes are found by looking where the file does not name them; that needs the tree, so Load does it and Parse
	// leaves them empty.
	Runtimes []Runtime         `yaml:"runtimes" enum:"node,python" unique:"true" doc:"Language runtimes it needs. Default: node where there is a package.json, python where there is a pyproject.toml or a requirements file."`
	Packages []string          `yaml:"packages" is:"package" unique:"true" doc:"Debian packages it needs at run time."`
	Inputs   []string          `yaml:"inputs" is:"path" unique:"true" doc:"Further files, directories or globs that its steps read, relative to its path: ../migrations."`
	Env      map[string]string `yaml:"env" keyis:"variable" also:"number,boolean" doc:"Environment variables, in tests and in every environment. Secrets go under environments, as references."`
	Serve    *Serve            `yaml:"serve" doc:"How it runs in a deployment. Without it the component is built and tested, not deployed."`
	// Commands replaces what the application's own files suggest for a step; an empty string turns the step off.
	Commands map[string]string `yaml:"commands" keys:"step" doc:"Commands to run in place of what the component's own files suggest, by step: unit: npm run test:ci. An empty string turns the step off. A component with both runtimes has unit-node and unit-python."`
	// Timeouts bounds a step, its services' start included.
	Timeouts map[string]time.Duration `yaml:"timeouts" keys:"step" doc:"How long a step may take, by step: unit: 5m."`
}

// Serve says how a component runs in a deployment slot: a command, or a directory of static files.
type Serve struct {
	Command []string `yaml:"command" doc:"Program and arguments; $HOST and $PORT are replaced. There is no shell."`
	Static  string   `yaml:"static" is:"path" doc:"Directory of static files that the build makes, relative to the component's path."`
	Routes  []string `yaml:"routes" is:"route" unique:"true" doc:"Path prefixes that the router sends here; the longest match wins. Default: /."`
	// Port is the port the command listens on where it cannot be told one by $PORT; 0 means any.
	Port    int           `yaml:"port" min:"0" max:"65535" doc:"Port the command always listens on, where it cannot be told one by $PORT. 0 means any."`
	Health  string        `yaml:"health" is:"urlpath" doc:"Path that answers 200 while the process is alive. Default: / for static files, /healthz otherwise."`
	Ready   string        `yaml:"ready" is:"urlpath" doc:"Path that answers 200 when it can take traffic. Default: health."`
	Version string        `yaml:"version" is:"urlpath" doc:"Path whose answer contains the release, so that a deployment proves what it serves."`
	Start   time.Duration `yaml:"start" doc:"How long it may take to become ready: 30s."`
	Stop    time.Duration `yaml:"stop" doc:"How long it gets from SIGTERM to SIGKILL: 10s."`
}
