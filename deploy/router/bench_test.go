package router_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// BenchmarkProxy compares the router, as it is during a canary (two slots with weight, a client with its cohort, a rule that
// does not match, counting), with a bare httputil.ReverseProxy in front of the same application, and with no proxy at all.
// The POST rows show what a connection of its own costs. Most of what is measured is net/http's client: wrk says more.
func BenchmarkProxy(b *testing.B) {
	app := backend(b, func(w http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = w.Write([]byte("ok"))
	})
	endpoint, err := url.Parse(app.URL)
	require.NoError(b, err)
	plain := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(endpoint) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	})
	b.Cleanup(plain.Close)
	r := router.New(router.Options{})
	base := public(b, r)
	give(b, r, one(b, deploy.Blue, "v1", app.URL))
	require.NoError(b, r.Register(b.Context(), one(b, deploy.Green, "v2", app.URL)))
	require.NoError(b, r.Shift(b.Context(), map[deploy.Slot]int{deploy.Blue: 90, deploy.Green: 10}))
	require.NoError(b, r.SetRules(b.Context(), router.Routing{Rules: []router.Rule{
		{Name: "staff", Match: router.Match{Header: &router.Value{Name: "X-Staff", Equals: "1"}}, Slot: deploy.Green},
	}}))

	for _, way := range []struct{ name, url string }{{"direct", app.URL}, {"reverseproxy", plain.URL}, {"router", base}} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			b.Run(way.name+"/"+method, func(b *testing.B) {
				client := newClient(b)
				b.SetParallelism(8)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						var body io.Reader
						if method == http.MethodPost {
							body = strings.NewReader("hello")
						}
						request, _ := http.NewRequest(method, way.url, body)
						request.Header.Set("Cookie", router.CohortCookie+"=ABCDEFGHIJKLMNOPQRSTUVWXYZ")
						response, err := client.Do(request)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, response.Body)
						response.Body.Close()
					}
				})
			})
		}
	}
}
