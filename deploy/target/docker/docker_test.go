package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/targettest"
)

// application gives each test an application of its own: they share the host.
var application atomic.Int64

func options(d *daemon) Options {
	return Options{
		Host: d.host(), Application: fmt.Sprintf("shop%d", application.Add(1)), Environment: "test", Deployment: "d1",
		FirstPort: 24000, LastPort: 24999,
	}
}

func open(t *testing.T, options Options) *Target {
	t.Helper()
	target, err := New(options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
			assert.NoError(t, target.clear(ctx, slot))
		}
		assert.NoError(t, target.Detach())
	})
	return target
}

// images are those that were sent already, by their files.
var images sync.Map

// send makes an image of the application with files, once, and sends it.
func send(t *testing.T, target *Target, files map[string]string, config imageConfig) string {
	t.Helper()
	key := fmt.Sprint(target.options.Host, files, config)
	if reference, ok := images.Load(key); ok {
		return reference.(string)
	}
	reference := fmt.Sprintf("registry.invalid/app:%d", application.Add(1))
	loaded, err := target.Load(bounded(t), tarball(t, reference, files, config))
	require.NoError(t, err)
	require.Equal(t, []string{reference}, loaded)
	images.Store(key, reference)
	return reference
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// app is a unit that answers its name.
func app(t *testing.T, target *Target, name, mode string) deploy.Unit {
	t.Helper()
	return deploy.Unit{
		Component: "api", Artifact: send(t, target, nil, imageConfig{}), Command: []string{"/program"},
		Env: map[string]string{"NAME": name, "MODE": mode}, Stop: 2 * time.Second,
	}
}

func release(version string, units ...deploy.Unit) deploy.Release {
	return deploy.Release{Version: version, Units: units}
}

func start(t *testing.T, target *Target, slot deploy.Slot, r deploy.Release) deploy.Instance {
	t.Helper()
	i, err := target.Start(bounded(t), slot, r)
	require.NoError(t, err)
	return i
}

func up(t *testing.T, i deploy.Instance, component string) {
	t.Helper()
	require.Eventually(t, func() bool { return answer(i.Endpoints[component].String()) != "" }, patience, 10*time.Millisecond)
}

// ended waits until a slot is not alive and returns why.
func waitEnded(t *testing.T, target *Target, slot deploy.Slot) error {
	t.Helper()
	var err error
	require.Eventually(t, func() bool { err = target.Alive(bounded(t), slot); return err != nil }, patience, 10*time.Millisecond)
	return err
}

func (d *daemon) count(t *testing.T, target *Target) int {
	t.Helper()
	list, err := target.client.ContainerList(context.Background(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelApplication+"="+target.options.Application)})
	require.NoError(t, err)
	return len(list.Items)
}

func TestConformance(t *testing.T) {
	d := docker(t)
	sender := open(t, options(d))
	targettest.Run(t, targettest.Suite{
		Program: []string{"/program"},
		New: func(t *testing.T) deploy.Target {
			target, err := New(options(d))
			require.NoError(t, err)
			t.Cleanup(func() { assert.Zero(t, d.count(t, sender.as(target)), "nothing is left") })
			return target
		},
		Artifact: func(t *testing.T, files map[string]string) string {
			config := imageConfig{}
			for name := range files {
				if strings.HasSuffix(name, "index.html") { // a page's image serves it by itself
					config = imageConfig{Cmd: []string{"/program"}, Env: []string{"ROOT=/app/" + filepath.Dir(name), "NAME=page"}}
				}
			}
			return send(t, sender, files, config)
		},
	})
}

// as is a target with another's options and its own connection.
func (t *Target) as(other *Target) *Target {
	return &Target{options: other.options, host: t.host, client: t.client, redactor: t.redactor, slots: map[deploy.Slot]*slot{}}
}

func TestTheSameDeploymentTakesOverWhatItHasStarted(t *testing.T) {
	d := docker(t)
	o := options(d)
	first := open(t, o)
	r := release("v1", app(t, first, "one", ""), func() deploy.Unit { u := app(t, first, "two", ""); u.Component = "page"; return u }())
	before := start(t, first, deploy.Blue, r)
	up(t, before, "api")
	require.NoError(t, first.Detach())
	assert.Equal(t, "one", answer(before.Endpoints["api"].String()), "what runs belongs to the host")

	second := open(t, o)
	found, ok, err := second.Running(bounded(t), deploy.Blue)
	require.NoError(t, err)
	require.True(t, ok)
	assert.Equal(t, "v1", found.Release.Version)
	assert.Equal(t, before.Endpoints, found.Endpoints)
	require.NoError(t, second.Alive(bounded(t), deploy.Blue))
	assert.Equal(t, before.Endpoints, start(t, second, deploy.Blue, r).Endpoints)
	assert.Equal(t, 2, d.count(t, second))

	for name, change := range map[string]func(*Options, *deploy.Release){
		"another deployment":  func(o *Options, _ *deploy.Release) { o.Deployment = "d2" },
		"another version":     func(_ *Options, r *deploy.Release) { r.Version = "v2" },
		"another environment": func(_ *Options, r *deploy.Release) { r.Units[0].Env = map[string]string{"NAME": "one", "MODE": "x"} },
		"a variable less":     func(_ *Options, r *deploy.Release) { r.Units[0].Env = map[string]string{"NAME": "one"} },
		"another command":     func(_ *Options, r *deploy.Release) { r.Units[0].Command = []string{"/program", "x"} },
		"another time to end": func(_ *Options, r *deploy.Release) { r.Units[0].Stop = time.Minute },
		"one unit less":       func(_ *Options, r *deploy.Release) { r.Units = r.Units[:1] },
		"another limit":       func(o *Options, _ *deploy.Release) { o.Settings = map[string]Settings{"api": {PIDs: 50}} },
		"a read-only root":    func(o *Options, _ *deploy.Release) { o.Settings = map[string]Settings{"": {ReadOnly: true}} },
	} {
		t.Run(name+" does not", func(t *testing.T) {
			o, r := o, release("v1", append([]deploy.Unit{}, r.Units...)...)
			change(&o, &r)
			target, err := New(o)
			require.NoError(t, err)
			defer target.Detach()
			_, err = target.Start(bounded(t), deploy.Blue, r)
			require.ErrorContains(t, err, "the slot is in use by release v1 of deployment d1; stop it first")
		})
	}
	require.NoError(t, second.Alive(bounded(t), deploy.Blue), "none of these has touched it")
	third := open(t, o)
	require.NoError(t, third.Stop(bounded(t), deploy.Blue), "whoever comes can stop it")
	assert.Zero(t, d.count(t, third))
	_, ok, err = third.Running(bounded(t), deploy.Blue)
	require.NoError(t, err)
	assert.False(t, ok)
}

// A proxy in front of Docker kills the deploying process with SIGKILL when it asks for the given request, before Docker
// sees it.
func TestARunKilledWhileItStartsIsRepairedByTheNext(t *testing.T) {
	d := docker(t)
	for name, c := range map[string]struct {
		method, path string
		deployment   string
		left         int
	}{
		"before the container is made":                            {"POST", "/containers/create", "d1", 0},
		"between create and start, by the same deployment":        {"POST", "/start", "d1", 1},
		"between create and start, by another deployment":         {"POST", "/start", "d2", 1},
		"after the start, before the answer, the same deployment": {"GET", "/json", "d1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(d)
			target := open(t, o)
			u := app(t, target, "one", "")
			socket := filepath.Join(d.dir, "proxy-"+strconv.FormatInt(application.Add(1), 10))
			listener, err := net.Listen("unix", socket)
			require.NoError(t, err)
			task, err := json.Marshal(child{o.Application, release("v1", u)})
			require.NoError(t, err)
			command := exec.Command(os.Args[0])
			command.Env = append(os.Environ(), childSocket+"=unix://"+socket, childTask+"="+string(task))
			var started atomic.Bool
			proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
			proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
			}}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				wanted := r.Method == c.method && strings.HasSuffix(r.URL.Path, c.path) && (c.method != "GET" || started.Load() && strings.Contains(r.URL.Path, "/containers/"))
				if wanted {
					_ = command.Process.Kill()
					return
				}
				proxy.ServeHTTP(w, r)
				if strings.HasSuffix(r.URL.Path, "/start") {
					started.Store(true)
				}
			})}
			go func() { _ = server.Serve(listener) }()
			defer server.Close()
			out, err := command.CombinedOutput()
			require.ErrorContains(t, err, "killed", "%s", out)
			require.Equal(t, c.left, d.count(t, target))

			next := o
			next.Deployment = c.deployment
			i := start(t, open(t, next), deploy.Blue, release("v1", u))
			up(t, i, "api")
			assert.Equal(t, 1, d.count(t, target))
		})
	}
}

const childSocket, childTask = "PIPELINE_DOCKER_TEST_HOST", "PIPELINE_DOCKER_TEST_TASK"

type child struct {
	Application string
	Release     deploy.Release
}

// runChild is the deploying process.
func runChild(host string) int {
	var task child
	if err := json.Unmarshal([]byte(os.Getenv(childTask)), &task); err != nil {
		fmt.Println(err)
		return 2
	}
	o := options(&daemon{})
	o.Host, o.Application = host, task.Application
	target, err := New(o)
	if err == nil {
		_, err = target.Start(context.Background(), deploy.Blue, task.Release)
	}
	fmt.Println("not killed:", err)
	return 1
}

func TestAnEndSaysWhy(t *testing.T) {
	d := docker(t)
	t.Run("the memory's limit, with the log", func(t *testing.T) {
		o := options(d)
		o.Settings = map[string]Settings{"api": {Memory: 32 << 20}}
		target := open(t, o)
		start(t, target, deploy.Blue, release("v1", app(t, target, "one", "eat")))
		text := waitEnded(t, target, deploy.Blue).Error()
		assert.Contains(t, text, "api: it ended with exit code 137: out of memory, its limit is 32 MiB")
		assert.Contains(t, text, "ate 4 MiB")
	})
	t.Run("the exit code, also when Docker has started it again", func(t *testing.T) {
		target := open(t, options(d))
		i := start(t, target, deploy.Blue, release("v1", app(t, target, "one", "")))
		up(t, i, "api")
		port := i.Endpoints["api"].Host
		answer(i.Endpoints["api"].JoinPath("exit").String())
		up(t, i, "api") // it is back
		assert.Equal(t, port, i.Endpoints["api"].Host)
		err := target.Alive(bounded(t), deploy.Blue)
		require.ErrorContains(t, err, "api: it ended with exit code 7; Docker has restarted it 1 times")
		require.ErrorContains(t, err, "asked to exit")
		later := open(t, target.options)
		require.NoError(t, later.Alive(bounded(t), deploy.Blue), "what was before is not this run's concern")
	})
	t.Run("removed by hand", func(t *testing.T) {
		target := open(t, options(d))
		page := app(t, target, "two", "")
		page.Component = "page"
		start(t, target, deploy.Blue, release("v1", app(t, target, "one", ""), page))
		there, err := target.containers(bounded(t), deploy.Blue)
		require.NoError(t, err)
		require.NoError(t, target.remove(bounded(t), there[0].ID))
		require.EqualError(t, target.Alive(bounded(t), deploy.Blue), "api: its container is gone")
		_, found, err := target.Running(bounded(t), deploy.Blue)
		require.NoError(t, err)
		assert.False(t, found, "only a part of it runs")
	})
}

func TestWorkersAreToldToTakeNoNewJobs(t *testing.T) {
	o := options(docker(t))
	o.Settings = map[string]Settings{"worker": {Quiet: "SIGTSTP"}}
	target := open(t, o)
	worker, api := app(t, target, "one", ""), app(t, target, "two", "")
	worker.Component = "worker"
	said := func(component, text string) int {
		logs, err := target.Logs(bounded(t), deploy.Blue)
		require.NoError(t, err)
		return strings.Count(logs[component], text)
	}
	require.NoError(t, target.Quiet(bounded(t), deploy.Blue), "nothing runs")
	i := start(t, target, deploy.Blue, release("v1", worker, api))
	up(t, i, "worker")
	require.NoError(t, target.Wake(bounded(t), deploy.Blue), "it is awake")
	require.NoError(t, target.Quiet(bounded(t), deploy.Blue))
	require.Eventually(t, func() bool { return said("worker", "takes no new jobs") == 1 }, patience, 10*time.Millisecond)
	require.NoError(t, target.Alive(bounded(t), deploy.Blue))

	later := open(t, o) // another run takes it back
	require.NoError(t, later.Quiet(bounded(t), deploy.Blue), "asked again")
	require.NoError(t, later.Wake(bounded(t), deploy.Blue))
	up(t, i, "worker")
	require.NoError(t, later.Wake(bounded(t), deploy.Blue), "woken again")
	require.NoError(t, target.Alive(bounded(t), deploy.Blue), "a restart that was asked for is no crash")
	assert.Equal(t, 2, said("worker", "one listens"), "it was started again, once")
	assert.Equal(t, 1, said("api", "two listens"))
	assert.Zero(t, said("api", "jobs"))
	there, err := target.containers(bounded(t), deploy.Blue)
	require.NoError(t, err)
	assert.Equal(t, "unless-stopped", string(there[1].HostConfig.RestartPolicy.Name))
	for _, wrong := range []string{"TSTP", "SIG", "sigtstp", "20"} {
		o.Settings = map[string]Settings{"worker": {Quiet: wrong}}
		_, err := New(o)
		require.ErrorContains(t, err, "want one like SIGTSTP")
	}
}

func TestWhatIgnoresItsSignalIsKilledWhenTheCallerGivesUp(t *testing.T) {
	d := docker(t)
	target := open(t, options(d))
	u := app(t, target, "one", "stubborn")
	u.Stop = time.Hour
	up(t, start(t, target, deploy.Blue, release("v1", u)), "api")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, target.Stop(ctx, deploy.Blue), context.DeadlineExceeded)
	assert.Zero(t, d.count(t, target))
	logs, err := target.Logs(bounded(t), deploy.Blue)
	require.NoError(t, err)
	assert.Contains(t, logs["api"], "one listens\n", "the log of what was stopped stays")
}

func TestAnImageThatIsNowhereIsNamed(t *testing.T) {
	d := docker(t)
	o := options(d)
	asked := ""
	o.Login = func(_ context.Context, registry string) (string, string, error) {
		asked = registry
		return "robot", "hunter2", nil
	}
	target := open(t, o)
	u := app(t, target, "one", "")
	u.Artifact = "127.0.0.1:1/shop/api:v9"
	_, err := target.Start(bounded(t), deploy.Blue, release("v1", u))
	require.ErrorContains(t, err, "component api: image 127.0.0.1:1/shop/api:v9 is not on the host and cannot be pulled: ")
	require.ErrorContains(t, err, "connection refused")
	assert.NotContains(t, err.Error(), "hunter2")
	assert.Equal(t, "127.0.0.1:1", asked)
	for _, reference := range []string{"Not A Reference", "", "-x"} {
		u.Artifact = reference
		_, err = target.Start(bounded(t), deploy.Blue, release("v1", u))
		require.ErrorContains(t, err, "want NAME:TAG, NAME@DIGEST or an image's ID", reference)
	}
	assert.Zero(t, d.count(t, target))
	_, err = target.Load(bounded(t), strings.NewReader("no tarball"))
	require.ErrorContains(t, err, "send images to "+d.socket)
}

func TestUnitsThatCannotBeStartedSayWhatToDo(t *testing.T) {
	target := open(t, options(docker(t)))
	u := app(t, target, "one", "")
	for text, change := range map[string]func(*deploy.Unit){
		"keep one of serve.command and serve.static":                     func(u *deploy.Unit) { u.Static = "dist" },
		"has no command of its own; set serve.command":                   func(u *deploy.Unit) { u.Command = nil },
		"no program serve in image " + u.Artifact + "; install it there": func(u *deploy.Unit) { u.Command = []string{"serve"} },
	} {
		u := u
		change(&u)
		_, err := target.Start(bounded(t), deploy.Blue, release("v1", u))
		require.ErrorContains(t, err, text)
	}
	_, err := target.Start(bounded(t), deploy.Blue, release("v1", u, u))
	require.ErrorContains(t, err, "two units of one component")
}

func TestAPortInUseIsPassedOver(t *testing.T) {
	d := docker(t)
	o := options(d)
	o.FirstPort, o.LastPort = 25001, 25003
	listener, err := net.Listen("tcp", "127.0.0.1:25002") // by a program
	require.NoError(t, err)
	defer listener.Close()
	target := open(t, o)
	u := app(t, target, "one", "")
	page := u
	page.Component = "page" // by another container
	i := start(t, target, deploy.Blue, release("v1", u, page))
	assert.ElementsMatch(t, []string{"127.0.0.1:25001", "127.0.0.1:25003"}, []string{i.Endpoints["api"].Host, i.Endpoints["page"].Host})
	assert.Equal(t, 2, d.count(t, target))
	_, err = target.Start(bounded(t), deploy.Green, release("v2", u))
	require.ErrorContains(t, err, "of the ports 25001 to 25003 of 127.0.0.1 none of the 3 that were tried is free; free some, or give another range")
	assert.Equal(t, 2, d.count(t, target))
}

func TestANameThatIsTakenIsNoReasonToTouchWhatHasIt(t *testing.T) {
	d := docker(t)
	target := open(t, options(d))
	foreign := open(t, options(d))
	u := app(t, target, "one", "")
	i := start(t, foreign, deploy.Blue, release("v1", u))
	there, err := foreign.containers(bounded(t), deploy.Blue)
	require.NoError(t, err)
	_, err = foreign.client.ContainerRename(bounded(t), there[0].ID, client.ContainerRenameOptions{NewName: target.containerName(deploy.Blue, "api")})
	require.NoError(t, err)
	_, err = target.Start(bounded(t), deploy.Blue, release("v1", u))
	require.ErrorContains(t, err, "a container named "+target.containerName(deploy.Blue, "api")+" is there that is not this slot's")
	up(t, i, "api")
}

// Looks at every command line of the machine, again and again, while a unit with a secret is started, asked and stopped.
func TestSecretsAreInNoCommandLineNoLabelNoLogAndNoError(t *testing.T) {
	const secret = "hunter2-correct-horse"
	d := docker(t)
	o := options(d)
	o.Redact = []string{secret}
	target := open(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	looked, seen := 0, ""
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, line := range lines {
				if data, _ := os.ReadFile(line); strings.Contains(string(data), secret) {
					seen = string(data)
				}
			}
			looked++
		}
	})
	u := app(t, target, secret, "exit") // its log shows its name
	u.Env["PASSWORD"] = secret
	start(t, target, deploy.Blue, release("v1", u))
	err := waitEnded(t, target, deploy.Blue)
	there, inspectErr := target.containers(bounded(t), deploy.Blue)
	require.NoError(t, inspectErr)
	logs, logErr := target.Logs(bounded(t), deploy.Blue)
	require.NoError(t, logErr)
	u.Command = []string{"/no-" + secret}
	_, startErr := target.Start(bounded(t), deploy.Green, release("v1", u))
	require.NoError(t, target.Stop(bounded(t), deploy.Blue))
	cancel()
	looking.Wait()

	assert.Positive(t, looked)
	assert.Empty(t, seen)
	for label, value := range there[0].Config.Labels {
		assert.NotContains(t, label+value, secret)
	}
	assert.Contains(t, there[0].Config.Env, "PASSWORD="+secret, "it was there to be found")
	for _, text := range []string{err.Error(), logs["api"], startErr.Error()} {
		assert.NotContains(t, text, "hunter2")
		assert.Contains(t, text, "***")
	}
}

func TestSettingsHold(t *testing.T) {
	o := options(docker(t))
	o.Settings = map[string]Settings{"": {ReadOnly: true, Memory: 64 << 20, PIDs: 40}}
	target := open(t, o)
	u := app(t, target, "one", "")
	u.Dir, u.Port = "web", 9999
	u.Command = append(u.Command, "$HOST:$PORT")
	i := start(t, target, deploy.Blue, release("v1", u))
	up(t, i, "api")
	base := i.Endpoints["api"].String()
	assert.Contains(t, answer(base+"/write?to=/etc/x"), "read-only file system")
	assert.Equal(t, "written", answer(base+"/write?to=/tmp/x"))
	assert.Equal(t, "[\"0.0.0.0:9999\"]\n", answer(base+"/arguments"))
	assert.Contains(t, answer(base+"/file?path=/proc/self/status"), "NoNewPrivs:\t1")
	assert.Equal(t, "/app/web", answer(base+"/directory"))
	there, err := target.containers(bounded(t), deploy.Blue)
	require.NoError(t, err)
	h := there[0].HostConfig
	assert.EqualValues(t, 64<<20, h.Memory)
	assert.EqualValues(t, 40, *h.PidsLimit)
	assert.Empty(t, h.LogConfig.Config, "the log driver is the host's own")
	for _, bindings := range h.PortBindings {
		for _, b := range bindings {
			assert.Equal(t, "127.0.0.1", b.HostIP.String())
		}
	}
}

func TestALimitThatTheHostCannotEnforceIsRefused(t *testing.T) {
	o := options(docker(t))
	o.Settings = map[string]Settings{"api": {CPUs: 0.5}}
	target := open(t, o)
	info, err := target.client.Info(bounded(t), client.InfoOptions{})
	require.NoError(t, err)
	_, err = target.Start(bounded(t), deploy.Blue, release("v1", app(t, target, "one", "")))
	if info.Info.CPUCfsQuota {
		require.NoError(t, err)
		there, err := target.containers(bounded(t), deploy.Blue)
		require.NoError(t, err)
		assert.EqualValues(t, 5e8, there[0].HostConfig.NanoCPUs)
		return
	}
	require.ErrorContains(t, err, `its kernel cannot limit CPUs (settings of component "api"): enable the control group, or remove the limit`)
}

func TestUnitsOfANetworkAreReachedByNameAndPublishNothing(t *testing.T) {
	d := docker(t)
	o := options(d)
	o.Network = fmt.Sprintf("net%d", application.Add(1))
	target := open(t, o)
	u := app(t, target, "one", "")
	_, err := target.Start(bounded(t), deploy.Blue, release("v1", u))
	require.ErrorContains(t, err, "network "+o.Network+" not found")

	_, err = target.client.NetworkCreate(bounded(t), o.Network, client.NetworkCreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
			assert.NoError(t, target.clear(context.Background(), slot))
		}
		_, err := target.client.NetworkRemove(context.Background(), o.Network, client.NetworkRemoveOptions{})
		assert.NoError(t, err)
	})
	i := start(t, target, deploy.Blue, release("v1", u))
	assert.Equal(t, "http://"+target.containerName(deploy.Blue, "api")+":8080", i.Endpoints["api"].String())
	again := start(t, target, deploy.Blue, release("v1", u))
	assert.Equal(t, i.Endpoints, again.Endpoints, "it is taken over")
	there, err := target.containers(bounded(t), deploy.Blue)
	require.NoError(t, err)
	assert.Empty(t, there[0].HostConfig.PortBindings)

	// Another container of the network asks by the name; the test asks that one by its address.
	start(t, target, deploy.Green, release("v2", u))
	other, err := target.containers(bounded(t), deploy.Green)
	require.NoError(t, err)
	address := "http://" + net.JoinHostPort(other[0].NetworkSettings.Networks[o.Network].IPAddress.String(), "8080")
	require.Eventually(t, func() bool {
		return answer(address+"/fetch?url="+url.QueryEscape(i.Endpoints["api"].String())) == "one"
	}, patience, 10*time.Millisecond)
}

func TestPruneKeepsTheImagesOfTheLastReleases(t *testing.T) {
	d := docker(t)
	target := open(t, options(d))
	other := open(t, options(d))
	references := map[string]string{}
	units := func(version string) []deploy.Unit {
		api, page := app(t, target, "one", ""), app(t, target, "two", "")
		if references[version] == "" {
			references[version] = send(t, target, map[string]string{"version": target.options.Application + version}, imageConfig{})
		}
		api.Artifact, page.Component = references[version], "page" // the page is the same in all
		return []deploy.Unit{api, page}
	}
	run := func(version string) {
		start(t, target, deploy.Blue, release(version, units(version)...))
		require.NoError(t, target.Stop(bounded(t), deploy.Blue))
	}
	for _, version := range []string{"v1", "v2", "v3", "v4", "v5"} {
		run(version)
	}
	run("v2") // a rollback
	start(t, target, deploy.Green, release("v3", units("v3")...))
	run("v4")
	run("v5") // from the last: v5 v4 v3 v2 v1; v3 runs
	u := units("v1")[0]
	start(t, other, deploy.Blue, release("x", u))
	require.NoError(t, other.Stop(bounded(t), deploy.Blue))

	_, err := target.Prune(bounded(t), 0)
	require.ErrorContains(t, err, "at least 1")
	removed, err := target.Prune(bounded(t), 2)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		target.repository("api") + ":v2", references["v2"], // v3 runs
		target.repository("api") + ":v1", // the other application keeps it
		target.repository("page") + ":v2", target.repository("page") + ":v1",
	}, withoutTimes(removed))
	for version, want := range map[string]bool{"v1": true, "v2": false, "v3": true, "v4": true, "v5": true} {
		there, err := target.Has(bounded(t), references[version])
		require.NoError(t, err)
		assert.Equal(t, want, there, version)
	}
	removed, err = target.Prune(bounded(t), 2)
	require.NoError(t, err)
	assert.Empty(t, removed, "there is nothing left to do")
	require.NoError(t, target.Alive(bounded(t), deploy.Green))
}

func withoutTimes(names []string) []string {
	for i, name := range names {
		if _, version, ok := parseStarted(name); ok {
			names[i] = name[:strings.LastIndexByte(name, ':')+1] + version
		}
	}
	return names
}

func TestADaemonThatIsGoneIsSaidAndWhatRanIsFoundAgain(t *testing.T) {
	docker(t)
	d, err := startDaemon(2)
	skipWithout(t, err)
	t.Cleanup(func() { assert.NoError(t, d.stop()) })
	target := open(t, options(d))
	u := app(t, target, "one", "")
	start(t, target, deploy.Blue, release("v1", u))
	require.NoError(t, d.process.Stop(bounded(t), 0)) // SIGKILL, with all it has started
	<-d.process.Done()
	_, startErr := target.Start(bounded(t), deploy.Green, release("v1", u))
	for _, err := range []error{target.Alive(bounded(t), deploy.Blue), target.Stop(bounded(t), deploy.Blue), startErr, target.Check(bounded(t))} {
		require.ErrorIs(t, err, ErrUnreachable)
		require.ErrorContains(t, err, d.socket)
	}
	require.NoError(t, d.start())
	up(t, start(t, target, deploy.Blue, release("v1", u)), "api")
	require.NoError(t, target.Stop(bounded(t), deploy.Blue))
	assert.Zero(t, d.count(t, target))
}
