package local

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/traffic"
	"github.com/metaextract/pipeline/deploy/verify"
)

// forgetful is a journal for a run that nobody resumes.
type forgetful struct{}

func (forgetful) Write(context.Context, deploy.Entry) error { return nil }

// All the pieces together with real processes: launch, deploy, roll back, forward and retire, again and again, while
// clients read and write.
func TestARealDeploymentDropsNothing(t *testing.T) {
	app, err := os.ReadFile("../targettest/app.py")
	require.NoError(t, err)
	dir := artifact(t, map[string]string{"app.py": string(app)})
	release := func(version string) deploy.Release {
		return deploy.Release{Version: version, Units: []deploy.Unit{{
			Component: "api", Artifact: dir, Command: []string{"python3", "app.py"}, Routes: []string{"/"},
			Env: map[string]string{"NAME": version}, Health: "/health", Version: "/version",
		}}}
	}
	requests := []traffic.Request{
		{Name: "read", Method: http.MethodGet, Path: "/"},
		{Name: "write", Method: http.MethodPost, Path: "/", Body: []byte("data"), Expect: 200},
	}

	split := router.New(router.Options{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- split.Serve(ctx, listener) }()
	defer func() {
		cancel()
		require.NoError(t, <-served)
	}()
	deployment := &deploy.Deployment{
		ID: "test", Target: open(t, Options{}), Splitter: split, Verifier: verify.New(verify.Options{Requests: requests}), Journal: forgetful{},
	}
	require.NoError(t, deployment.Launch(ctx, deploy.Blue, release("v1")))

	load := traffic.New(traffic.Options{Target: "http://" + listener.Addr().String(), Requests: requests, Rate: 200})
	require.NoError(t, load.Start(ctx))
	more := func(n int) {
		goal := load.Snapshot().Requests + n
		require.Eventually(t, func() bool { return load.Snapshot().Requests >= goal }, 30*time.Second, 5*time.Millisecond)
	}
	more(20)
	for _, version := range []string{"v2", "v3", "v4"} {
		load.Mark("deploy " + version)
		require.NoError(t, deployment.Run(ctx, release(version)))
		more(20)
		from, left := time.Now(), deployment.Serving().Slot
		require.NoError(t, deployment.RollBack(ctx))
		t.Logf("rolled back from %s in %s, last answer of %s after %s", version, time.Since(from).Round(time.Millisecond), left,
			load.Snapshot().Slots[string(left)].Last.Sub(from).Round(time.Millisecond))
		more(20)
		require.NoError(t, deployment.RollBack(ctx))
		more(20)
		require.NoError(t, deployment.Retire(ctx))
	}
	load.Stop()
	out := load.Snapshot()
	t.Logf("%d requests, %d failed, p50 %.1f ms, p99 %.1f ms", out.Requests, out.Failed, out.P50, out.P99)
	assert.Zero(t, out.Failed, "%v %v", out.Errors, out.Failures)
	assert.Contains(t, out.Slots, "blue")
	assert.Contains(t, out.Slots, "green")
	assert.NotContains(t, out.Slots, "")
}
