package docker

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router/control"
	"github.com/metaextract/pipeline/internal/process"
)

// pipeline is the program itself, built once.
var pipeline = sync.OnceValues(func() (string, error) { return build("../../../cmd/pipeline") })

func TestARouterRunsInAContainer(t *testing.T) {
	d := docker(t)
	program, err := pipeline()
	require.NoError(t, err)
	o := options(d)
	target := open(t, o)
	t.Cleanup(func() { assert.NoError(t, target.StopRouter(context.Background())) })
	image := "registry.invalid/router:1"
	_, err = target.Load(bounded(t), imageOf(t, image, program, nil, imageConfig{}))
	require.NoError(t, err)
	port, err := process.FreePort("127.0.0.1")
	require.NoError(t, err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	r := Router{Image: image, Dir: filepath.Join(d.dir, "router"), Command: []string{
		"/program", "router", "--listen", address, "--socket", d.dir + "/router/s", "--state", d.dir + "/router/state.json",
	}}
	require.ErrorContains(t, target.RouterAlive(bounded(t)), "no router of "+o.Application)
	require.NoError(t, target.StopRouter(bounded(t)), "there is none")
	require.NoError(t, target.StartRouter(bounded(t), r))
	require.NoError(t, target.StartRouter(bounded(t), r), "it is there")

	u := app(t, target, "one", "")
	u.Routes = []string{"/"}
	i := start(t, target, deploy.Blue, release("v1", u))
	up(t, i, "api")
	socket, end, err := target.Forward(bounded(t), filepath.Join(r.Dir, "s"))
	require.NoError(t, err)
	defer func() { require.NoError(t, end()) }()
	split := control.NewClient(socket)
	require.Eventually(t, func() bool { _, err := os.Stat(socket); return err == nil }, patience, 10*time.Millisecond)
	require.NoError(t, split.Register(bounded(t), i))
	require.NoError(t, split.Shift(bounded(t), map[deploy.Slot]int{deploy.Blue: 100}))
	assert.Equal(t, "one", answer("http://"+address))

	require.NoError(t, target.Stop(bounded(t), deploy.Green), "deployments do not touch it")
	require.NoError(t, target.RouterAlive(bounded(t)))
	other := r
	other.Command = append(other.Command[:len(other.Command):len(other.Command)], "--http2")
	require.ErrorContains(t, target.StartRouter(bounded(t), other), "another one runs there, from image "+image+"; stop it first")

	// Docker starts it again, and it goes on where it was.
	there, _, err := target.router(bounded(t))
	require.NoError(t, err)
	require.NoError(t, exec.Command("kill", "-KILL", strconv.Itoa(there.State.Pid)).Run())
	require.Eventually(t, func() bool { now, _, err := target.router(bounded(t)); return err == nil && now.RestartCount == 1 }, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool { return answer("http://"+address) == "one" }, patience, 10*time.Millisecond)
	require.NoError(t, target.StopRouter(bounded(t)))
	assert.Empty(t, answer("http://"+address))
	require.NoError(t, target.StartRouter(bounded(t), other))
	require.Eventually(t, func() bool { return answer("http://"+address) == "one" }, patience, 10*time.Millisecond)
}

func TestARouterThatCannotRunSaysWhy(t *testing.T) {
	o := options(docker(t))
	target := open(t, o)
	t.Cleanup(func() { assert.NoError(t, target.StopRouter(context.Background())) })
	good := Router{Image: send(t, target, nil, imageConfig{Env: []string{"NAME=router", "MODE=exit"}}), Command: []string{"/program"}, Dir: "/tmp"}
	for text, change := range map[string]func(*Router){
		"an image and a command are required":  func(r *Router) { r.Command = nil },
		"want an absolute path of the host":    func(r *Router) { r.Dir = "state" },
		"directory \"/tmp/..\": want":          func(r *Router) { r.Dir = "/tmp/.." },
		"without a colon":                      func(r *Router) { r.Dir = "/tmp:/etc" },
		"is not on the host and cannot be":     func(r *Router) { r.Image = "127.0.0.1:1/none" },
		"exec: \"/none\": stat /none: no such": func(r *Router) { r.Command = []string{"/none"} },
	} {
		r := good
		change(&r)
		require.ErrorContains(t, target.StartRouter(bounded(t), r), text)
	}
	_, found, err := target.router(bounded(t))
	require.NoError(t, err)
	assert.False(t, found, "nothing is left")
	require.NoError(t, target.StartRouter(bounded(t), good)) // it ends
	require.Eventually(t, func() bool { err = target.RouterAlive(bounded(t)); return err != nil }, patience, time.Millisecond)
	require.ErrorContains(t, err, "it ended with exit code 3")
	o.Network = "net"
	require.ErrorContains(t, open(t, o).StartRouter(bounded(t), good), "cannot look up names of network net")
}
