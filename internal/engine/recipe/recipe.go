// Package recipe says what the image of a component is made of: which commands install what it needs at run time, which
// files of the build go in, how it is started. It knows no engine and runs nothing, so that it is tested without one;
// internal/engine cooks by it.
package recipe

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/config"
)

const (
	// Root is where an image has the application: a component is in its own directory below, as in the source.
	Root = "/app"
	// Port is where every image listens that is not told to listen elsewhere.
	Port = 8080
	// User runs every image. It is a number, so that a cluster can see that it is not root.
	User = "65532:65532"
)

// Caddyfile is the configuration of images that serve static files. It serves the directory $ROOT.
//
//go:embed Caddyfile
var Caddyfile string

// Recipe is how an image is made.
type Recipe struct {
	Dir      string   // of the component within Root
	Packages []string // Debian packages of the final image
	// Install holds the commands that install what the component needs at run time, in Dir, and Inputs the patterns of the
	// files they read. They run in a container of their own, of which only Installed goes into the image.
	Install   [][]string
	Settings  map[string]string // the environment of these commands
	Inputs    []string
	Installed []string // directories within Dir
	Caches    []ci.Cache
	// Wheel is where the build left wheels, within Dir; they are installed. Without one the sources go in.
	Wheel string
	// Static is where the build left files to serve, within Dir. Nothing else goes in.
	Static  string
	Command []string // with HOST and PORT filled in; empty for static files
	Port    int
	Env     map[string]string
}

// Of derives the recipe of a component that is served from its steps. app is the application's files.
func Of(c config.Component, build ci.Step, app fs.FS) (*Recipe, error) {
	if c.Serve == nil {
		return nil, errors.New("it has no serve section, so there is nothing to make an image of")
	}
	if build.After == nil {
		return nil, fmt.Errorf("step %s continues from no other", build.Name)
	}
	r := &Recipe{Dir: path.Clean(c.Path), Packages: c.Packages, Port: c.Serve.Port, Static: c.Serve.Static}
	if r.Port == 0 {
		r.Port = Port
	}
	r.Env = map[string]string{"HOST": "0.0.0.0", "PORT": strconv.Itoa(r.Port), "HOME": "/tmp"}
	if r.Static != "" {
		r.Packages = nil
		r.Env["ROOT"] = path.Join(Root, r.Dir, r.Static)
		return r, nil
	}
	r.Command = Expand(c.Serve.Command, r.Env)
	for _, o := range build.Outputs {
		if o.Name == "wheel" {
			r.Wheel = o.Path
		}
	}
	install := build.After
	r.Inputs, r.Caches, r.Settings = install.Inputs, install.Caches, install.Env
	for _, command := range install.Run {
		r.Install = append(r.Install, production(command, r.Dir, app))
	}
	if slices.Contains(c.Runtimes, config.Node) {
		r.Installed = append(r.Installed, "node_modules")
		r.Env["NODE_ENV"] = "production"
	}
	if slices.Contains(c.Runtimes, config.Python) {
		r.Installed = append(r.Installed, ".venv")
		r.Env["PYTHONUNBUFFERED"] = "1"
		if slices.Contains(c.Runtimes, config.Node) { // the base image is Node's
			r.Packages = append([]string{"python3"}, r.Packages...)
		}
	}
	return r, nil
}

// withoutDevelopment are the flags by which package managers leave development dependencies out.
var withoutDevelopment = map[string]string{"npm": "--omit=dev", "pnpm": "--prod", "yarn": "--production"}

// production is an install command without what only development needs. A command of the application's own is taken as it
// is: it knows best.
func production(command []string, dir string, app fs.FS) []string {
	if flag := withoutDevelopment[command[0]]; flag != "" {
		return append(slices.Clone(command), flag)
	}
	for _, name := range []string{"requirements.lock", "requirements.txt"} {
		if _, err := fs.Stat(app, path.Join(dir, name)); err == nil {
			return withRequirements(command, name)
		}
	}
	return command
}

// requirements are the files that a line of a shell has pip or uv install.
var requirements = regexp.MustCompile(`--requirement \S+( --requirement \S+)*`)

// withRequirements is an install command with another requirements file in place of its own.
func withRequirements(command []string, file string) []string {
	at := slices.Index(command, "--requirement")
	if at >= 0 {
		return append(slices.Clone(command[:at]), "--requirement", file)
	}
	command = slices.Clone(command)
	for i, argument := range command {
		command[i] = requirements.ReplaceAllString(argument, "--requirement "+file)
	}
	return command
}

// Expand replaces $NAME and ${NAME} in the arguments of a command by the values of env. Other variables stay: there is no
// shell, and "$OTHER" may be meant.
func Expand(command []string, env map[string]string) []string {
	expanded := make([]string, len(command))
	for i, argument := range command {
		expanded[i] = expand(argument, env)
	}
	return expanded
}

func expand(argument string, env map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(argument, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, rest := variable(after)
		value, known := env[name]
		if known {
			out.WriteString(value)
		} else {
			out.WriteString("$" + after[:len(after)-len(rest)])
		}
		argument = rest
	}
}

// variable splits a variable's name off what follows a dollar sign.
func variable(s string) (name, rest string) {
	if inner, ok := strings.CutPrefix(s, "{"); ok {
		if name, rest, ok := strings.Cut(inner, "}"); ok {
			return name, rest
		}
		return "", s
	}
	end := 0
	for end < len(s) && (s[end] == '_' || s[end] >= 'a' && s[end] <= 'z' || s[end] >= 'A' && s[end] <= 'Z' || end > 0 && s[end] >= '0' && s[end] <= '9') {
		end++
	}
	return s[:end], s[end:]
}
