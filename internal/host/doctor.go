package host

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/internal/process"
)

// Finding is what Doctor found of one program.
type Finding struct {
	Name      string `json:"name"`
	Found     bool   `json:"found"`
	Version   string `json:"version,omitempty"`
	Path      string `json:"path,omitempty"`
	NeededFor string `json:"needed_for"`
	Problem   string `json:"problem,omitempty"` // why it does not do although it is there
	Fix       string `json:"fix,omitempty"`     // a command, where it is not found
}

// Times of a doctor's questions.
const (
	questionPatience = 20 * time.Second
	enginePatience   = 20 * time.Second // an engine that has to be pulled first counts as not there
)

// question is a program that Doctor looks for. ask looks where PATH does not do, or looks closer.
type question struct {
	name, program, neededFor string
	flags                    []string // that print the version; "--version" where empty
	ask                      func(context.Context, *Finding)
}

// questions are Doctor's, in the order of a pipeline.
var questions = []question{
	{name: "node", neededFor: "Node.js components"},
	{name: "npm", neededFor: "Node.js components"},
	{name: "python3", neededFor: "Python components"},
	{name: "python3 venv", program: "python3", neededFor: "Python components", ask: askVenv},
	{name: "postgres", neededFor: "integration tests, migrations, rehearsals", ask: askPostgres},
	{name: "pg_dump", neededFor: "backups and their proof", ask: askDump},
	{name: "redis-server", neededFor: "integration tests and rehearsals of applications that use Redis"},
	{name: "git", neededFor: "versions of releases, rehearsing from a tag"},
	{name: "gitleaks", flags: []string{"version"}, neededFor: "looking for committed secrets"},
	{name: "exiftool", flags: []string{"-ver"}, neededFor: "applications that read metadata with it"},
	{name: "ffmpeg", flags: []string{"-version"}, neededFor: "applications that read or write media with it"},
	{name: "ffprobe", flags: []string{"-version"}, neededFor: "applications that read media with it"},
	{name: "libmagic", program: "python3", neededFor: "python-magic", ask: askMagic},
	{name: "dagger", flags: []string{"version"}, neededFor: "running in containers instead of on this machine"},
	{name: "dagger engine", program: "dagger", neededFor: "running in containers instead of on this machine", ask: askEngine},
}

// Doctor looks for everything that steps may need on this machine. It changes nothing. What an application does not use
// it does not need: that is for whoever has read pipeline.yaml to judge.
func Doctor(ctx context.Context) []Finding {
	findings := make([]Finding, len(questions))
	var wait sync.WaitGroup
	for i, q := range questions {
		wait.Go(func() {
			findings[i] = q.answer(ctx)
			if !findings[i].Found && findings[i].Fix == "" {
				findings[i].Fix = howToInstall(q.name)
			}
		})
	}
	wait.Wait()
	return findings
}

// Engine asks whether a Dagger engine answers.
func Engine(ctx context.Context) Finding {
	return questions[len(questions)-1].answer(ctx)
}

func (q question) answer(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, questionPatience)
	defer cancel()
	f := Finding{Name: q.name, NeededFor: q.neededFor}
	path, err := process.LookPath(orElse(q.program, q.name), "", os.Environ())
	if q.ask != nil {
		f.Path = path
		q.ask(ctx, &f)
		return f
	}
	if err != nil {
		return f
	}
	flags := q.flags
	if flags == nil {
		flags = []string{"--version"}
	}
	text, err := output(ctx, append([]string{path}, flags...)...)
	if err != nil {
		f.Path, f.Problem = path, fmt.Sprintf("it is there but does not run: %v", err)
		return f
	}
	f.Found, f.Path, f.Version = true, path, versionIn(text)
	return f
}

// output is what a program prints.
func output(ctx context.Context, args ...string) (string, error) {
	var out, failure bytes.Buffer
	err := process.Run(ctx, process.Spec{Args: args, Dir: os.TempDir(), Stdout: &out, Stderr: &failure, Grace: time.Second})
	if err != nil {
		if lines := strings.Split(strings.TrimSpace(failure.String()), "\n"); lines[len(lines)-1] != "" {
			err = fmt.Errorf("%w: %s", err, lines[len(lines)-1])
		}
	}
	return strings.TrimSpace(out.String()), err
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+[^\s,)]*`)

// versionIn is the version number in what a program says of itself.
func versionIn(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return orElse(versionNumber.FindString(line), line)
}

func askPostgres(_ context.Context, f *Finding) {
	f.Path = ""
	bin, err := findPostgres()
	if bin.dir == "" {
		return
	}
	f.Path, f.Version = bin.path("postgres"), versionIn(strings.TrimPrefix(bin.version, "postgres (PostgreSQL) "))
	if err != nil {
		f.Problem, f.Fix = err.Error(), "useradd --system postgres"
		return
	}
	f.Found = true
}

func askDump(_ context.Context, f *Finding) {
	f.Path = ""
	if all := clients(); len(all) > 0 {
		f.Found, f.Path = true, all[0].path("pg_dump")
		f.Version = versionIn(strings.TrimPrefix(all[0].version, "pg_dump (PostgreSQL) "))
	}
}

// askVenv makes a virtual environment: on Debian the module is there without the package, and fails when used.
func askVenv(ctx context.Context, f *Finding) {
	f.Fix = howToInstall("python3-venv")
	if f.Path == "" {
		return
	}
	dir, err := os.MkdirTemp("", "venv-")
	if err != nil {
		f.Problem, f.Fix = err.Error(), "make room in "+os.TempDir()
		return
	}
	defer os.RemoveAll(dir)
	if _, err := output(ctx, f.Path, "-m", "venv", filepath.Join(dir, "venv")); err != nil {
		f.Problem = fmt.Sprintf("it cannot make a virtual environment: %v", err)
		return
	}
	f.Found, f.Fix = true, ""
}

// askMagic loads the library as python-magic does.
func askMagic(ctx context.Context, f *Finding) {
	python := f.Path
	f.Path, f.Fix = "", "apt-get install libmagic1"
	if runtime.GOOS == "darwin" {
		f.Fix = "brew install libmagic"
	}
	if python == "" {
		f.Problem = "it is looked for with python3, which is not there"
		return
	}
	const script = `import ctypes, ctypes.util, sys
for name in ("libmagic.so.1", ctypes.util.find_library("magic"), "/opt/homebrew/lib/libmagic.dylib", "/usr/local/lib/libmagic.dylib"):
    try:
        v = ctypes.CDLL(name).magic_version() if name else 0
    except (OSError, AttributeError):
        continue
    if v:
        print(name, "%d.%02d" % divmod(v, 100))
        sys.exit(0)
sys.exit(1)`
	text, err := output(ctx, python, "-c", script)
	if err != nil {
		return
	}
	name, version, _ := strings.Cut(text, " ")
	f.Found, f.Fix, f.Path, f.Version = true, "", name, version
}

// askEngine asks the Dagger CLI for the version of the engine, which it must reach, and start, for that.
func askEngine(ctx context.Context, f *Finding) {
	f.Fix = "start Docker, or set _EXPERIMENTAL_DAGGER_RUNNER_HOST to a running engine"
	if f.Path == "" {
		f.Problem, f.Fix = "it is asked with the dagger CLI, which is not there", howToInstall("dagger")
		return
	}
	dagger := f.Path
	f.Path = os.Getenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST")
	ctx, cancel := context.WithTimeoutCause(ctx, enginePatience, fmt.Errorf("no answer within %s", enginePatience))
	defer cancel()
	text, err := output(ctx, dagger, "--silent", "core", "version")
	if err != nil {
		f.Problem = fmt.Sprintf("no engine answers: %v", err)
		return
	}
	f.Found, f.Fix, f.Version = true, "", versionIn(text)
}
