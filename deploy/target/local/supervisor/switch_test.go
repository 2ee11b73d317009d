package supervisor

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/traffic"
)

// Each switch is made by a command of its own, as it will be, with processes and a router that outlive them all.
func TestSwitchesByOneCommandAfterTheOtherDropNothing(t *testing.T) {
	const switches = 10
	p := newPlace(t)
	p.route = true
	move := func(to deploy.Slot, version string) {
		t.Helper()
		c := p.open(t, p.options())
		instance, err := c.Start(bounded(t), to, app(t, version, "api"))
		require.NoError(t, err)
		serves(t, instance.Endpoints["api"].String(), version)
		require.NoError(t, c.Splitter().Register(bounded(t), instance))
		require.NoError(t, c.Splitter().Shift(bounded(t), map[deploy.Slot]int{to: 100}))
		from := to.Other()
		if _, found, err := c.Running(bounded(t), from); !found {
			require.NoError(t, err)
			return
		}
		left, err := c.Splitter().Drain(bounded(t), from)
		require.NoError(t, err)
		require.Zero(t, left)
		require.NoError(t, c.Splitter().Remove(bounded(t), from))
		require.NoError(t, c.Stop(bounded(t), from))
	}
	move(deploy.Blue, "v0")
	status, err := p.open(t, p.options()).Status(bounded(t))
	require.NoError(t, err)
	load := traffic.New(traffic.Options{Target: status.Router.URL, Rate: 200, Requests: []traffic.Request{
		{Name: "read", Method: http.MethodGet, Path: "/"},
		{Name: "write", Method: http.MethodPost, Path: "/", Body: []byte("data"), Expect: 200},
	}})
	require.NoError(t, load.Start(t.Context()))
	slot := deploy.Blue
	for n := range switches {
		goal := load.Snapshot().Requests + 50
		eventually(t, "requests come", func() bool { return load.Snapshot().Requests >= goal })
		slot = slot.Other()
		move(slot, "v"+string(rune('1'+n)))
	}
	load.Stop()
	out := load.Snapshot()
	t.Logf("%d switches, %d requests, %d failed, p50 %.1f ms, p99 %.1f ms", switches, out.Requests, out.Failed, out.P50, out.P99)
	assert.Zero(t, out.Failed, "%v %v", out.Errors, out.Failures)
}
