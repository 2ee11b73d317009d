package engine

import (
	"maps"
	"slices"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/driver"
)

// fixedEnv is the same for every command of every step.
var fixedEnv = map[string]string{
	"CI":   "true",
	"HOME": "/root",
	"LANG": "C.UTF-8",
	"TERM": "dumb",
	// The certificates that the engine installs for companies with an authority of their own. Node does not ask for them.
	"NODE_USE_SYSTEM_CA":         "1",
	"PIP_ROOT_USER_ACTION":       "ignore",
	"NPM_CONFIG_UPDATE_NOTIFIER": "false",
}

// toolBase is the container that steps of a tool start from: image, packages, setup commands and the step's script.
func toolBase(client *dagger.Client, tool ci.Tool) *dagger.Container {
	container := withPackages(client, client.Container().From(tool.Image).WithUser("0"), tool.Packages)
	container = withEnv(container, fixedEnv)
	for _, command := range tool.Setup {
		container = setUp(client, container, command)
	}
	return container.WithNewFile(driver.Program, driver.Script, dagger.ContainerWithNewFileOpts{Permissions: 0o755}).WithWorkdir("/")
}

// setUp runs a command on an image. What Go downloads and compiles on the way is kept in volumes and out of the image.
func setUp(client *dagger.Client, container *dagger.Container, command []string) *dagger.Container {
	if command[0] != "go" {
		return container.WithExec(command)
	}
	const modules, builds = "/go/pkg/mod", "/root/.cache/go-build"
	return container.
		WithMountedCache(modules, client.CacheVolume("pipeline-go-modules")).
		WithMountedCache(builds, client.CacheVolume("pipeline-go-builds")).
		WithEnvVariable("CGO_ENABLED", "0").
		WithExec(command).
		WithoutEnvVariable("CGO_ENABLED").WithoutMount(modules).WithoutMount(builds)
}

// withPackages installs Debian packages. The volumes keep what was downloaded for the next image that needs it; apt wants
// them for itself.
func withPackages(client *dagger.Client, container *dagger.Container, packages []string) *dagger.Container {
	if len(packages) == 0 {
		return container
	}
	const lists, archives = "/var/lib/apt/lists", "/var/cache/apt"
	alone := dagger.ContainerWithMountedCacheOpts{Sharing: dagger.CacheSharingModeLocked}
	const script = `rm -f /etc/apt/apt.conf.d/docker-clean
apt-get -q update >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Keep-Downloaded-Packages=true install --no-install-recommends "$@" >/dev/null`
	return container.
		WithMountedCache(lists, client.CacheVolume("pipeline-apt-lists"), alone).
		WithMountedCache(archives, client.CacheVolume("pipeline-apt-archives"), alone).
		WithExec(append([]string{"sh", "-ec", script, "apt-get"}, slices.Sorted(slices.Values(packages))...)).
		WithoutMount(lists).WithoutMount(archives)
}

// withEnv sets variables in a fixed order: another order would be another container for the engine's cache.
func withEnv(container *dagger.Container, env map[string]string) *dagger.Container {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		container = container.WithEnvVariable(name, env[name])
	}
	return container
}
