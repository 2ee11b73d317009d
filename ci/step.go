// Package ci defines what each step of the check, test and build stages is: its commands, its inputs, the services it
// needs and the reports it leaves. It runs nothing and imports no runner: internal/host runs a Step as processes on
// this machine, internal/engine as a container of a Dagger engine, and both pass the suite in ci/runnertest.
package ci

import (
	"context"
	"slices"
	"time"
)

// Kind says which stage of the pipeline a step belongs to.
type Kind string

// The kinds, in the order a report lists them.
const (
	Install     Kind = "install"
	Lint        Kind = "lint"
	Typecheck   Kind = "typecheck"
	Secrets     Kind = "secrets"
	Unit        Kind = "unit"
	Property    Kind = "property"
	Integration Kind = "integration"
	Build       Kind = "build"
)

// Stage is the name of the stage that shows steps of this kind: "install", "check", "test" or "build".
func (k Kind) Stage() string {
	switch k {
	case Lint, Typecheck, Secrets:
		return "check"
	case Unit, Property, Integration:
		return "test"
	default:
		return string(k)
	}
}

// A Step is one unit of work: commands run one after another in a directory that holds only the files it names.
type Step struct {
	Name      string // unique within a run: "frontend/unit"
	Component string // the component in pipeline.yaml; empty for a step of the whole repository
	Kind      Kind
	Tool      Tool
	// After continues in that step's file system, as it was when that step ended. Steps that share a predecessor do not
	// see each other's files.
	After *Step
	// Dir is the working directory, slash-separated, relative to the source root.
	Dir string
	// Inputs are doublestar globs relative to the source root; a leading "!" takes files out again, the last match wins.
	// Only these files are copied into the step's file system (on top of After's), and their content is part of its key.
	Inputs []string
	Env    map[string]string
	// Path lists directories, relative to Dir, that come first on PATH: a virtual environment's programs.
	Path    []string
	Secrets []SecretRef
	Caches  []Cache
	// Services are started fresh for this step and stopped after it.
	Services []Service
	// Run holds the commands; the first that exits with another code than 0 ends the step. The first word is a program:
	// looked up on PATH, or in Dir where it has a slash. There is no shell.
	Run [][]string
	// Reports and Outputs are collected also when a command fails.
	Reports []Report
	Outputs []Output
	// Timeout bounds the whole step, its services' start included. Zero means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout bounds a step that states no timeout of its own.
const DefaultTimeout = 15 * time.Minute

// Tool is where a step's programs come from: an image for the engine, programs on PATH for the host.
type Tool struct {
	Name     string   // "node", "python", "node+python", "gitleaks"
	Image    string   // image reference for the engine
	Programs []string // programs that must be on PATH on a host; their versions are part of the step's key
	Packages []string // Debian packages the application needs beyond the image
	// Setup holds commands run once on the image, before any source is there.
	Setup [][]string
}

// SecretRef passes a secret by its URI (env://NAME, file://PATH, …) in an environment variable.
type SecretRef struct {
	Env string
	URI string
}

// Cache is a directory kept between runs, shared by all steps that name the same key. A step must work without it.
type Cache struct {
	Key string // "npm"
	Env string // the variable that tells the tool where it is: "npm_config_cache"
}

// Service is a server that a step needs. The runner puts its URL in Env.
type Service struct {
	Kind    ServiceKind
	Version string // major version wanted by the engine's image; a host uses what it has
	Env     string // "DATABASE_URL"
}

// ServiceKind names a kind of service.
type ServiceKind string

// The services a runner can start.
const (
	Postgres ServiceKind = "postgres" // postgres://user:password@host:port/database?sslmode=disable
	Redis    ServiceKind = "redis"    // redis://host:port/0
)

// Format is the format of a report file.
type Format string

// The formats that ci/report reads.
const (
	JestJSON Format = "jest-json"
	JUnit    Format = "junit"
	SARIF    Format = "sarif"
	// Statements are what a step has sent to its PostgreSQL, as migrations/corpus writes it. Runners add it by themselves.
	Statements Format = "statements"
)

// Report is a machine-readable result that a command writes, relative to Dir.
type Report struct {
	Format Format
	Path   string
}

// Output is a file or directory, relative to Dir, that later stages use.
type Output struct {
	Name string // "bundle", "wheel"
	Path string
}

// Status is how a step ended.
type Status string

// The ways a step can end.
const (
	Passed   Status = "passed"
	Failed   Status = "failed"    // a command exited with another code than 0
	TimedOut Status = "timed out" // stopped at its timeout
	Skipped  Status = "skipped"   // a step it continues from did not pass
	Canceled Status = "canceled"  // the run was interrupted
	Broken   Status = "broken"    // the runner could not run it: a program missing, no disk, a service that would not start
)

// Result is what running a step gave.
type Result struct {
	Step     Step
	Status   Status
	Cached   bool // taken from an earlier run with the same key
	Started  time.Time
	Duration time.Duration // of this run; zero where cached
	Command  []string      // the command that failed, nil otherwise
	ExitCode int
	Log      []byte // combined output, at most MaxLog bytes: the middle is cut and the cut is said
	Reports  []ReportFile
	Err      error // why, for every status but Passed; for people, with what to do
}

// MaxLog bounds the log kept of one step, in bytes.
const MaxLog = 1 << 20

// ReportFile is a report that a step left.
type ReportFile struct {
	Report
	Data []byte
}

// Runner runs steps. A step starts when the step it continues from has passed; others run at the same time within the
// machine's cores. A failing step stops only those that continue from it. The results are in the order of steps, one
// each, whatever happened. The error is for what kept the runner from running any step at all; a failed step is no error.
type Runner interface {
	Run(ctx context.Context, steps ...Step) ([]Result, error)
}

// Observer is told of a run as it happens. Its methods may be called from several goroutines at once.
type Observer interface {
	StepStarted(step Step, at time.Time)
	StepFinished(result Result)
}

// OK says whether every result passed.
func OK(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return r.Status != Passed })
}
