package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/recipe"
	"github.com/metaextract/pipeline/internal/redact"
)

//go:embed slot.sh
var slotScript string

const (
	slotProgram = "/.pipeline/slot"
	slotVolume  = "/.pipeline/slots"
	// mostLog is how much of the end of a unit's log is read, in bytes.
	mostLog = 64 << 10
	// dialPatience is how long a unit that runs takes to accept a connection.
	dialPatience = 200 * time.Millisecond
)

// unit is one component that runs in a slot.
type unit struct {
	deploy.Unit
	client    *dagger.Client
	id        string // of this start of it
	container *dagger.Container
	service   *dagger.Service
	endpoint  *url.URL
	redact    redact.Redactor
}

// start starts the unit's service. It does not wait for the port: whether the application is ready is asked elsewhere.
func (u *unit) start(ctx context.Context, images func(string) (*dagger.Container, bool)) error {
	image, ok := images(u.Artifact)
	if !ok {
		return fmt.Errorf("no image %s", u.Artifact)
	}
	port := cmp.Or(u.Port, recipe.Port)
	address := map[string]string{"HOST": "0.0.0.0", "PORT": strconv.Itoa(port)}
	command := recipe.Expand(u.Command, address)
	if len(command) == 0 {
		var err error
		if command, err = image.DefaultArgs(ctx); err != nil {
			return fmt.Errorf("read image %s: %w", u.Artifact, err)
		}
	}
	u.container = u.withEnvironment(image, address).
		WithUser(recipe.User).
		WithWorkdir(path.Join(recipe.Root, u.Dir)).
		WithNewFile(slotProgram, slotScript, dagger.ContainerWithNewFileOpts{Permissions: 0o755}).
		With(u.withVolume).
		WithExposedPort(port, dagger.ContainerWithExposedPortOpts{ExperimentalSkipHealthcheck: true})
	patience := cmp.Or(u.Stop, defaultStop)
	args := append([]string{slotProgram, path.Join(slotVolume, u.id), fmt.Sprintf("%.3f", patience.Seconds())}, command...)
	service, err := u.container.AsService(dagger.ContainerAsServiceOpts{Args: args}).Start(ctx)
	if err != nil {
		return err
	}
	u.service = service
	host, err := service.Hostname(ctx)
	if err != nil {
		return err
	}
	u.endpoint = &url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port))}
	return u.begun(ctx)
}

func (u *unit) withVolume(container *dagger.Container) *dagger.Container {
	return container.WithMountedCache(slotVolume, u.client.CacheVolume("pipeline-slots"), dagger.ContainerWithMountedCacheOpts{Owner: recipe.User})
}

// withEnvironment sets the unit's variables. A URL with a password is a secret to the engine, which keeps it out of what
// it shows and stores.
func (u *unit) withEnvironment(container *dagger.Container, address map[string]string) *dagger.Container {
	env := map[string]string{}
	for name, value := range u.Env {
		password := passwordIn(value)
		if password == "" {
			env[name] = value
			continue
		}
		u.redact.Secret(password)
		container = container.WithSecretVariable(name, u.client.SetSecret("unit/"+digest(name, value), value))
	}
	return withEnv(withEnv(container, env), address)
}

// passwordIn is the password in a URL, "" where there is none.
func passwordIn(value string) string {
	address, err := url.Parse(value)
	if err != nil || address.User == nil {
		return ""
	}
	password, _ := address.User.Password()
	return password
}

// begun waits until the unit's script runs the command.
func (u *unit) begun(ctx context.Context) error {
	for deadline := time.Now().Add(begin); ; {
		state, err := u.look(ctx)
		switch {
		case err != nil:
			return err
		case state.missing != "":
			return errors.New(state.missing + "; install it there or correct serve.command")
		case state.began:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("it does not run %s after the engine has started it", begin)
		}
	}
}

// alive says why the unit has ended. Something that accepts connections is alive, which is quicker to find out than what
// its script says.
func (u *unit) alive(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialPatience}
	if connection, err := dialer.DialContext(ctx, "tcp", u.endpoint.Host); err == nil {
		return connection.Close()
	}
	state, err := u.look(ctx)
	if err != nil {
		return err
	}
	if state.exit == "" {
		return nil
	}
	log := lastLines(state.log)
	if log == "" {
		log = "(it wrote nothing)"
	}
	return fmt.Errorf("it ended with exit code %s; the end of its log:\n%s", state.exit, log)
}

// tailLines is how much of a log helps to see why a unit has ended.
const tailLines = 20

func lastLines(log string) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// state is what a unit's script has left so far.
type state struct {
	began              bool
	missing, exit, log string
}

// look reads what the unit's script has left, with another container that has the same volume.
func (u *unit) look(ctx context.Context) (state, error) {
	const script = `cd "$1" 2>/dev/null || exit 0
for f in began missing exit; do if [ -e $f ]; then cp $f /tmp/state/; fi; done
tail -c "$2" log >/tmp/state/log`
	dir, err := os.MkdirTemp("", "slot-")
	if err != nil {
		return state{}, err
	}
	defer os.RemoveAll(dir)
	// What is in a volume is no part of what the engine takes for the same, so a nonce is.
	_, err = u.client.Container().WithRootfs(u.container.Rootfs()).
		WithUser(recipe.User).With(u.withVolume).
		WithDirectory("/tmp/state", u.client.Directory(), dagger.ContainerWithDirectoryOpts{Owner: recipe.User}).
		WithEnvVariable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").
		WithEnvVariable("PIPELINE_NONCE", rand.Text()).
		WithExec([]string{"sh", "-c", script, "look", path.Join(slotVolume, u.id), strconv.Itoa(mostLog)}).
		Directory("/tmp/state").Export(ctx, dir)
	if err != nil {
		return state{}, fmt.Errorf("look at what it left: %w", err)
	}
	return u.read(os.DirFS(dir))
}

func (u *unit) read(files fs.FS) (state, error) {
	var s state
	texts := map[string]string{}
	for _, name := range []string{"began", "missing", "exit", "log"} {
		data, err := fs.ReadFile(files, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, err
		}
		s.began = s.began || name == "began"
		texts[name] = string(u.redact.Bytes(data))
	}
	s.missing, s.exit, s.log = strings.TrimSpace(texts["missing"]), strings.TrimSpace(texts["exit"]), texts["log"]
	return s, nil
}

// stop ends the unit. The script passes SIGTERM on and kills what does not end in time; the engine's own kill is for a
// script that hangs.
func (u *unit) stop(ctx context.Context) error {
	if u.service == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		_, err := u.service.Stop(context.WithoutCancel(ctx))
		ended <- err
	}()
	timer := time.NewTimer(cmp.Or(u.Stop, defaultStop) + killed)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	forced, cancel := context.WithTimeout(context.WithoutCancel(ctx), killed)
	defer cancel()
	_, err := u.service.Stop(forced, dagger.ServiceStopOpts{Kill: true})
	return errors.Join(ctx.Err(), err)
}
