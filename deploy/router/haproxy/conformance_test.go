package haproxy_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/router/haproxy"
	"github.com/metaextract/pipeline/deploy/router/routertest"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/process"
)

func TestConformance(t *testing.T) {
	routertest.Run(t, routertest.Suite{New: func(t *testing.T) *routertest.Stage {
		s, _ := serve(t, options(t))
		return s
	}})
}

// options are those of a data plane in a directory whose path is short enough for sockets.
func options(t testing.TB) haproxy.Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "haproxy")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port, err := process.FreePort("127.0.0.1")
	require.NoError(t, err)
	return haproxy.Options{
		Dir: dir, Bind: []string{fmt.Sprint("127.0.0.1:", port)}, Headers: []string{routertest.Header}, Cookies: []string{routertest.Cookie},
		CountryHeader: "CF-IPCountry", Percentages: 2,
		ResponseTimeout: 2 * time.Second, Grace: time.Second,
	}
}

// serve starts a HAProxy and drives it.
func serve(t testing.TB, options haproxy.Options) (*routertest.Stage, *haproxy.Plane) {
	t.Helper()
	driver, err := haproxy.New(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, driver.Close()) })
	running, err := host.StartHAProxy(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, running.Kill()) })
	return &routertest.Stage{Plane: driver, URL: "http://" + options.Bind[0], Restart: func(t *testing.T) {
		require.NoError(t, running.Kill())
		running, err = host.StartHAProxy(t.Context(), options)
		require.NoError(t, err)
	}}, driver
}
