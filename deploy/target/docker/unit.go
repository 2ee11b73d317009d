package docker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"net/netip"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"

	"github.com/metaextract/pipeline/deploy"
)

// root is where the images of the pipeline have the application.
const root = "/app"

// unit is a unit and the container that it runs in.
type unit struct {
	deploy.Unit
	name       string
	image      string // its ID
	config     *container.Config
	hostConfig *container.HostConfig
	network    *network.NetworkingConfig
	expected   facts

	id      string // once it runs
	address string
}

func (u *unit) port() int { return cmp.Or(u.Port, port) }

// specify says what the container is to be.
func (u *unit) specify(t *Target, name deploy.Slot, version string, components []string, image image.InspectResponse) error {
	if u.Static != "" && len(u.Command) > 0 {
		return errors.New("it has both a command and static files; keep one of serve.command and serve.static")
	}
	all, err := json.Marshal(components)
	if err != nil {
		return err
	}
	listen := map[string]string{"HOST": "0.0.0.0", "PORT": strconv.Itoa(u.port())}
	env := maps.Clone(listen)
	for name, value := range u.Env {
		if _, ours := listen[name]; !ours {
			env[name] = value
		}
	}
	inside, err := network.ParsePort(fmt.Sprintf("%d/tcp", u.port()))
	if err != nil {
		return err
	}
	settings := t.settings(u.Component)
	stop := int(math.Ceil(cmp.Or(u.Stop, DefaultStop).Seconds())) // Docker counts whole seconds
	u.config = &container.Config{
		Image: u.Artifact, Env: pairs(env), StopTimeout: &stop, ExposedPorts: network.PortSet{inside: {}},
		Labels: map[string]string{
			labelApplication: t.options.Application, labelEnvironment: t.options.Environment, labelSlot: string(name),
			labelComponent: u.Component, labelComponents: string(all), labelRelease: version,
			labelDeployment: t.options.Deployment, labelPort: strconv.Itoa(u.port()),
		},
	}
	u.config.WorkingDir = u.directory(image)
	if len(u.Command) > 0 { // the whole command, as on every other target: the image's entrypoint is no part of it
		u.config.Entrypoint = expand(u.Command, listen)
	}
	u.hostConfig = &container.HostConfig{
		// It comes back after a crash and after the machine's restart. Alive says that it was away.
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		SecurityOpt:   []string{"no-new-privileges"},
		Resources:     container.Resources{Memory: settings.Memory, MemorySwap: settings.Memory, NanoCPUs: int64(settings.CPUs * 1e9)},
	}
	if settings.PIDs > 0 {
		u.hostConfig.PidsLimit = &settings.PIDs
	}
	if settings.ReadOnly {
		u.hostConfig.ReadonlyRootfs = true
		u.hostConfig.Tmpfs = map[string]string{"/tmp": "mode=1777"}
	}
	if t.options.Network != "" {
		u.hostConfig.NetworkMode = container.NetworkMode(t.options.Network)
		u.network = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{t.options.Network: {}}}
	}
	u.expected = factsOf(u.config, u.hostConfig, image.ID)
	imageEnv := unpair(image.Config.Env)
	maps.Copy(imageEnv, u.expected.Env)
	u.expected.Env = imageEnv
	if len(u.config.Entrypoint) == 0 {
		u.expected.Command = slices.Concat(image.Config.Entrypoint, image.Config.Cmd)
		if len(u.expected.Command) == 0 {
			return fmt.Errorf("image %s has no command of its own; set serve.command", u.Artifact)
		}
	}
	return nil
}

// directory is where the command runs: what the image says, which those of the pipeline do, or else the unit's directory
// below the application.
func (u *unit) directory(image image.InspectResponse) string {
	if dir := image.Config.WorkingDir; dir != "" && dir != "/" {
		return dir
	}
	if u.Dir == "" {
		return ""
	}
	return path.Join(root, path.Join("/", u.Dir))
}

// publish has the unit's port published at a port of the host's loopback; 0 for none.
func (u *unit) publish(hostPort int) {
	u.hostConfig.PortBindings = nil
	if hostPort == 0 {
		return
	}
	for inside := range u.config.ExposedPorts {
		u.hostConfig.PortBindings = network.PortMap{inside: {{
			HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(hostPort),
		}}}
	}
}

// facts are what makes a container the one that is wanted.
type facts struct {
	Image, Dir, Network  string
	Command              []string
	Env, Labels          map[string]string
	Memory, CPUs, PIDs   int64
	ReadOnly             bool
	Stop                 int
	NoPrivileges, Keeper bool
}

func factsOf(c *container.Config, h *container.HostConfig, imageID string) facts {
	f := facts{
		Image: imageID, Dir: c.WorkingDir, Command: slices.Concat(c.Entrypoint, c.Cmd), Env: unpair(c.Env),
		Labels: map[string]string{}, Memory: h.Memory, CPUs: h.NanoCPUs, ReadOnly: h.ReadonlyRootfs, Stop: int(DefaultStop.Seconds()),
		NoPrivileges: slices.Contains(h.SecurityOpt, "no-new-privileges"),
		Keeper:       h.RestartPolicy.Name == container.RestartPolicyUnlessStopped,
	}
	if h.NetworkMode.IsUserDefined() {
		f.Network = string(h.NetworkMode)
	}
	for name, value := range c.Labels { // an image has labels too
		if strings.HasPrefix(name, labelPrefix) {
			f.Labels[name] = value
		}
	}
	if h.PidsLimit != nil {
		f.PIDs = *h.PidsLimit
	}
	if c.StopTimeout != nil {
		f.Stop = *c.StopTimeout
	}
	return f
}

// is says whether a container is exactly what this unit is to be, of the same deployment.
func (u *unit) is(c container.InspectResponse) bool {
	return reflect.DeepEqual(u.expected, factsOf(c.Config, c.HostConfig, c.Image))
}

// spread turns a name into a number below many.
func spread(name string, many int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return int(h.Sum32() % uint32(many)) //nolint:gosec // many is at most 65535
}

var variable = regexp.MustCompile(`\$(?:\{(HOST|PORT)\}|(HOST|PORT)\b)`)

// expand replaces $HOST and $PORT, also written ${HOST} and ${PORT}, and nothing else: a command is no shell script.
func expand(command []string, listen map[string]string) []string {
	expanded := make([]string, len(command))
	for i, word := range command {
		expanded[i] = variable.ReplaceAllStringFunc(word, func(match string) string { return listen[strings.Trim(match, "${}")] })
	}
	return expanded
}

func pairs(env map[string]string) []string {
	all := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, name+"="+env[name])
	}
	return all
}

func unpair(all []string) map[string]string {
	env := make(map[string]string, len(all))
	for _, pair := range all {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return env
}

// portTaken says whether a container could not be started because its port on the host is in use: by another container
// ("port is already allocated") or by another program.
func portTaken(err error) bool {
	return strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
}

// explainStart says what to do about a start that failed.
func (u *unit) explainStart(err error) error {
	text := err.Error()
	if len(u.Command) > 0 && (strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file or directory")) {
		return fmt.Errorf("no program %s in image %s; install it there or correct serve.command: %w", u.Command[0], u.Artifact, err)
	}
	return err
}
