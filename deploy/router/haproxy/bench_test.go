package haproxy_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/routertest"
	"github.com/metaextract/pipeline/internal/process"
)

// BenchmarkAgainstPlainHAProxy is the price of cohorts, records and one segment rule: wrk (which costs less than the proxies
// do) in turns against HAProxy as this package sets it up and against a HAProxy that only passes on, before one backend
// which is a HAProxy too. The figure is the ratio of requests a second; both are printed.
func BenchmarkAgainstPlainHAProxy(b *testing.B) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("wrk is not installed")
	}
	backend, plain := freeAddress(b), freeAddress(b)
	passOn(b, fmt.Sprintf(`
frontend backend
	bind %s
	http-request return status 200 content-type text/plain string ok
frontend plain
	bind %s
	default_backend app
backend app
	server app %[1]s
`, backend, plain))
	o := options(b)
	o.Headers, o.Cookies, o.CountryHeader, o.Percentages = []string{routertest.Header}, nil, "", 0
	s, _ := serve(b, o)
	endpoint, err := url.Parse("http://" + backend)
	require.NoError(b, err)
	for _, slot := range []deploy.Slot{deploy.Blue, deploy.Green} {
		require.NoError(b, s.Register(b.Context(), deploy.Instance{
			Slot: slot, Release: deploy.Release{Version: "v1", Units: []deploy.Unit{{Component: "app", Routes: []string{"/"}}}},
			Endpoints: map[string]*url.URL{"app": endpoint},
		}))
	}
	require.NoError(b, s.Shift(b.Context(), map[deploy.Slot]int{deploy.Blue: 90, deploy.Green: 10}))
	require.NoError(b, s.SetRules(b.Context(), router.Routing{Rules: []router.Rule{
		{Name: "staff", Match: router.Match{Header: &router.Value{Name: routertest.Header, Equals: "1"}}, Slot: deploy.Green},
	}}))
	var ours, theirs float64
	for b.Loop() {
		ours += requests(b, wrk, s.URL, "-H", "Cookie: "+router.CohortCookie+"=5ZKQ4RZJ4S7XG6VYQ2M3T1N0AB")
		theirs += requests(b, wrk, "http://"+plain)
	}
	b.ReportMetric(ours/float64(b.N), "ours/s")
	b.ReportMetric(theirs/float64(b.N), "plain/s")
	b.ReportMetric(ours/theirs, "ratio")
	b.ReportMetric(0, "ns/op")
}

func freeAddress(b *testing.B) string {
	b.Helper()
	port, err := process.FreePort("127.0.0.1")
	require.NoError(b, err)
	return fmt.Sprint("127.0.0.1:", port)
}

// passOn starts a HAProxy that knows nothing of this package.
func passOn(b *testing.B, sections string) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "plain.cfg")
	require.NoError(b, os.WriteFile(file, []byte("defaults\n\tmode http\n\ttimeout client 60s\n\ttimeout server 60s\n\ttimeout connect 5s\n"+sections), 0o600))
	p, err := process.Start(b.Context(), process.Spec{Args: []string{"haproxy", "-db", "-f", file}, Env: []string{"PATH=/usr/sbin:" + os.Getenv("PATH")}})
	require.NoError(b, err)
	b.Cleanup(func() { _ = p.Stop(context.Background(), 0) })
	address := regexp.MustCompile(`bind (\S+)`).FindStringSubmatch(sections)[1]
	require.Eventually(b, func() bool {
		response, err := http.Get("http://" + address)
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond)
}

var perSecond = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

func requests(b *testing.B, wrk, url string, more ...string) float64 {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), wrk, append([]string{"-t1", "-c32", "-d2s", url}, more...)...).CombinedOutput()
	require.NoError(b, err, "%s", out)
	require.NotContains(b, string(out), "Non-2xx")
	n, err := strconv.ParseFloat(perSecond.FindStringSubmatch(string(out))[1], 64)
	require.NoError(b, err)
	return n
}
