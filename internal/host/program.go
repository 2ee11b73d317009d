package host

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/process"
)

// versionPatience bounds the question for a program's version.
const versionPatience = 20 * time.Second

// debianPackages says which package of Debian and Ubuntu has a program, where the two have different names.
var debianPackages = map[string]string{
	"node": "nodejs", "python": "python3", "pip": "python3-pip", "pip3": "python3-pip",
	"postgres": "postgresql", "initdb": "postgresql", "psql": "postgresql-client", "pg_dump": "postgresql-client",
	"pg_restore": "postgresql-client", "exiftool": "libimage-exiftool-perl", "ffprobe": "ffmpeg", "go": "golang-go",
	"convert": "imagemagick", "tesseract": "tesseract-ocr", "mediainfo": "mediainfo", "pdftotext": "poppler-utils",
}

// otherSources says where programs come from that no Debian release has.
var otherSources = map[string]string{
	"gitleaks": "go install " + ci.Gitleaks,
	"dagger":   "curl -fsSL https://dl.dagger.io/dagger/install.sh | sh",
	"pnpm":     "npm install --global pnpm",
	"yarn":     "npm install --global yarn",
	"uv":       "pip install uv",
}

// brewPackages says which formula of Homebrew has a program, where the two have different names.
var brewPackages = map[string]string{
	"npm": "node", "python3": "python", "postgres": "postgresql", "initdb": "postgresql", "psql": "postgresql",
	"pg_dump": "postgresql", "pg_restore": "postgresql", "redis-server": "redis", "ffprobe": "ffmpeg",
	"gitleaks": "gitleaks", "dagger": "dagger/tap/dagger", "convert": "imagemagick",
}

// howToInstall says what to type to get a program.
func howToInstall(program string) string {
	if runtime.GOOS == "darwin" {
		return "brew install " + orElse(brewPackages[program], program)
	}
	if source, ok := otherSources[program]; ok {
		return source
	}
	if _, err := os.Stat("/etc/debian_version"); err == nil {
		return "apt-get install " + orElse(debianPackages[program], program)
	}
	return "install it with the system's package manager (Debian's package is " + orElse(debianPackages[program], program) + ")"
}

func orElse(value, other string) string {
	if value == "" {
		return other
	}
	return value
}

// missingProgram is the error of a step whose program is not on this machine.
func missingProgram(program string) error {
	return fmt.Errorf("%s is not on PATH; %s", program, howToInstall(program))
}

// programs knows the versions of this machine's programs. Each is asked once.
type programs struct {
	dir   string // to ask in
	mu    sync.Mutex
	asked map[string]*program
}

// program is a program on PATH.
type program struct {
	once    sync.Once
	path    string
	version string // what it says itself, or size and time of its file
	err     error
}

func newPrograms(dir string) *programs {
	return &programs{dir: dir, asked: map[string]*program{}}
}

// find looks a program up and asks for its version.
func (p *programs) find(ctx context.Context, name string) (*program, error) {
	p.mu.Lock()
	found := p.asked[name]
	if found == nil {
		found = &program{}
		p.asked[name] = found
	}
	p.mu.Unlock()
	found.once.Do(func() {
		env := baseEnv()
		if found.path, found.err = process.LookPath(name, "", env); found.err != nil {
			found.err = missingProgram(name)
			return
		}
		found.version = askVersion(context.WithoutCancel(ctx), found.path, p.dir, env)
	})
	return found, found.err
}

// ask asks for the versions of all programs that steps name, at once: npm alone takes a third of a second to answer.
func (p *programs) ask(ctx context.Context, nodes []*node) {
	var wait sync.WaitGroup
	for _, n := range nodes {
		for _, name := range n.step.Tool.Programs {
			wait.Go(func() { _, _ = p.find(ctx, name) })
		}
	}
	wait.Wait()
}

// describe is the program as a key has it. The path is part of it: virtual environments remember it.
func (p *program) describe(name string) string { return name + " " + p.path + " " + p.version }

// askVersion is the first line that a program prints about its version. Where it prints none, size and time of its file
// tell one version from another.
func askVersion(ctx context.Context, path, dir string, env []string) string {
	ctx, cancel := context.WithTimeout(ctx, versionPatience)
	defer cancel()
	for _, flag := range []string{"--version", "version"} {
		var out bytes.Buffer
		err := process.Run(ctx, process.Spec{Args: []string{path, flag}, Dir: dir, Env: env, Stdout: &out, Grace: time.Second})
		line, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
		if err == nil && line != "" {
			return line
		}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	info, err := os.Stat(real)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%d bytes of %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339))
}
