package engine

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/driver"
	"github.com/metaextract/pipeline/internal/engine/recipe"
)

// ImageOptions say what an image cannot know by itself.
type ImageOptions struct {
	Caddy      string // the image that serves static files
	Repository string // address of the sources, for the label; "" leaves it out
}

// image makes the image of a component out of what its build step left.
func image(ctx context.Context, client *dagger.Client, app *Application, build ci.Step, built *dagger.Container, options ImageOptions) (*dagger.Container, error) {
	component := app.Config.Components[build.Component]
	r, err := recipe.Of(component, build, app.Files)
	if err != nil {
		return nil, fmt.Errorf("image of %s: %w", build.Component, err)
	}
	var container *dagger.Container
	if r.Static != "" {
		files := built.Directory(path.Join(driver.SourceRoot, r.Dir, r.Static))
		container = static(client, options.Caddy, r, files)
	} else {
		container = program(client, app, build, built, r)
	}
	container, err = labelled(container, app, build.Component, options).WithUser(recipe.User).WithExposedPort(r.Port).Sync(ctx)
	if err != nil {
		return nil, fmt.Errorf("image of %s: %w", build.Component, toolError(err))
	}
	return container, nil
}

// static is an image that serves files.
func static(client *dagger.Client, caddy string, r *recipe.Recipe, files *dagger.Directory) *dagger.Container {
	container := client.Container().From(caddy).
		WithoutExposedPort(80).WithoutExposedPort(443).WithoutExposedPort(2019).
		WithNewFile("/etc/caddy/Caddyfile", recipe.Caddyfile).
		WithDirectory(r.Env["ROOT"], files).
		WithWorkdir(path.Join(recipe.Root, r.Dir)).
		WithoutEntrypoint().
		WithDefaultArgs([]string{"caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"})
	return withEnv(container, r.Env)
}

// program is an image that runs a command: the tool's image with what the component needs at run time.
func program(client *dagger.Client, app *Application, build ci.Step, built *dagger.Container, r *recipe.Recipe) *dagger.Container {
	dir := path.Join(recipe.Root, r.Dir)
	installed := install(client, app, build, built, r)
	container := withPackages(client, client.Container().From(build.Tool.Image).WithUser("0"), r.Packages)
	if r.Wheel == "" {
		container = container.WithDirectory(dir, sources(built, r))
	}
	for _, name := range r.Installed {
		at := path.Join(dir, name)
		container = container.WithDirectory(at, installed.Directory(at))
	}
	container = withEnv(container, r.Env).
		WithEnvVariable("PATH", path.Join(dir, ".venv/bin")+":${PATH}", dagger.ContainerWithEnvVariableOpts{Expand: true})
	return container.WithWorkdir(dir).WithoutEntrypoint().WithDefaultArgs(r.Command)
}

// install is the container in which the run-time dependencies are installed, at the place that they have in the image:
// neither a virtual environment nor what refers to it can be moved. It is the same as long as the lock files are.
func install(client *dagger.Client, app *Application, build ci.Step, built *dagger.Container, r *recipe.Recipe) *dagger.Container {
	dir := path.Join(recipe.Root, r.Dir)
	files := app.Directory.Filter(dagger.DirectoryFilterOpts{Exclude: driver.Excludes(r.Inputs)})
	container := toolBase(client, build.Tool).WithDirectory(recipe.Root, files).WithWorkdir(dir)
	for _, cache := range r.Caches {
		at := path.Join("/caches", cache.Key)
		container = container.WithMountedCache(at, client.CacheVolume("pipeline-"+cache.Key)).WithEnvVariable(cache.Env, at)
	}
	container = withEnv(container, r.Settings)
	for _, command := range r.Install {
		container = container.WithExec(command)
	}
	// Without anything to install, a package manager makes no directory.
	container = container.WithExec(append([]string{"mkdir", "-p"}, r.Installed...))
	if r.Wheel != "" {
		container = container.
			WithMountedDirectory("/wheel", built.Directory(path.Join(driver.SourceRoot, r.Dir, r.Wheel))).
			WithExec([]string{"sh", "-ec", `exec .venv/bin/python -m pip install --no-input --disable-pip-version-check --no-deps --no-index /wheel/*.whl`})
	}
	return container
}

// notSources is what a build leaves in the tree that no slot needs: dependencies, which are installed anew without those of
// development, tests and reports.
var notSources = []string{"**/node_modules", "**/.venv", "**/__pycache__", "**/.pipeline-*", "**/coverage", "**/tests", "**/__tests__",
	"**/*.test.*", "**/*.spec.*", "**/test_*.py", "**/conftest.py"}

func sources(built *dagger.Container, r *recipe.Recipe) *dagger.Directory {
	return built.Directory(path.Join(driver.SourceRoot, r.Dir)).Filter(dagger.DirectoryFilterOpts{Exclude: notSources})
}

// labelled says what an image is, by the names of the OCI. There is no time of creation: the same input is the same image.
func labelled(container *dagger.Container, app *Application, component string, options ImageOptions) *dagger.Container {
	container = container.
		WithLabel("org.opencontainers.image.title", app.Config.Name+"-"+component).
		WithLabel("org.opencontainers.image.version", app.Version)
	if options.Repository != "" {
		container = container.WithLabel("org.opencontainers.image.source", options.Repository)
	}
	return container
}

// Image makes the image of a component whose build step has passed in the runner.
func (r *Runner) Image(ctx context.Context, app *Application, build ci.Step, options ImageOptions) (*dagger.Container, error) {
	built, ok := r.Container(build)
	if !ok {
		return nil, errors.New("step " + build.Name + " has not passed, so there is nothing to make an image of")
	}
	return image(ctx, r.options.Client, app, build, built, options)
}
