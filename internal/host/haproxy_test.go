package host

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router/haproxy"
	"github.com/metaextract/pipeline/internal/process"
)

func haproxyOptions(t *testing.T) haproxy.Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "haproxy") // a test's own directory has too long a path for sockets
	require.NoError(t, err)
	t.Cleanup(func() { removeTree(dir) })
	port, err := process.FreePort("127.0.0.1")
	require.NoError(t, err)
	return haproxy.Options{Dir: dir, Bind: []string{fmt.Sprint("127.0.0.1:", port)}, Grace: patience}
}

func TestHAProxyEndsWhenItsRequestsHave(t *testing.T) {
	options := haproxyOptions(t)
	running, err := StartHAProxy(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = running.Kill() })
	driver, err := haproxy.New(options)
	require.NoError(t, err)
	defer driver.Close()
	entered, finish := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-finish
		_, _ = io.WriteString(w, "whole")
	}))
	t.Cleanup(server.Close)
	endpoint, err := url.Parse(server.URL)
	require.NoError(t, err)
	require.NoError(t, driver.Register(t.Context(), deploy.Instance{
		Slot: deploy.Blue, Release: deploy.Release{Version: "v1", Units: []deploy.Unit{{Component: "app", Routes: []string{"/"}}}},
		Endpoints: map[string]*url.URL{"app": endpoint},
	}))
	require.NoError(t, driver.Shift(t.Context(), map[deploy.Slot]int{deploy.Blue: 100}))
	body := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + options.Bind[0])
		if err != nil {
			body <- err.Error()
			return
		}
		defer response.Body.Close()
		data, _ := io.ReadAll(response.Body)
		body <- string(data)
	}()
	<-entered
	closed := make(chan error, 1)
	go func() { closed <- running.Close() }()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", options.Bind[0])
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond, "new clients are refused")
	close(finish)
	require.Equal(t, "whole", <-body)
	require.NoError(t, <-closed)
}

func TestHAProxySaysWhyItDoesNotStart(t *testing.T) {
	options := haproxyOptions(t)
	listener, err := net.Listen("tcp", options.Bind[0])
	require.NoError(t, err)
	defer listener.Close()
	_, err = StartHAProxy(t.Context(), options)
	require.ErrorContains(t, err, options.Bind[0])
}
