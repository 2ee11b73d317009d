package router

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// slot is a registered instance: where its components listen, its connections to them, and what it counted.
type slot struct {
	name     deploy.Slot
	instance Registration
	routes   Routes
	proxies  map[string]*httputil.ReverseProxy // by component
	upstream upstream
	flight   flight
	counts   counts
}

func newSlot(name deploy.Slot, instance Registration, r *Router) (*slot, error) {
	routes, err := instance.routes()
	if err != nil {
		return nil, err
	}
	s := &slot{
		name: name, instance: instance, routes: routes,
		upstream: newUpstream(r.options.ResponseTimeout),
		proxies:  make(map[string]*httputil.ReverseProxy, len(instance.Backends)),
	}
	for _, backend := range instance.Backends {
		endpoint, err := url.Parse(backend.URL)
		if err != nil {
			return nil, err
		}
		s.proxies[backend.Component] = newProxy(s, endpoint, r)
	}
	return s, nil
}

// serve proxies a request to the component that serves its path and counts how it ended.
func (s *slot) serve(w http.ResponseWriter, request *http.Request) {
	component, ok := s.routes.Component(request.URL.Path)
	if !ok {
		s.unrouted(w)
		return
	}
	started := time.Now()
	answer := &answer{ResponseWriter: w}
	defer func() {
		// ReverseProxy panics with http.ErrAbortHandler when an answer breaks off half way, so that net/http cuts the
		// client's connection: the client must not take half an answer for a whole one. Any other panic is a bug and goes on too.
		cause := recover()
		if cause != nil {
			answer.outcome = truncated
			if request.Context().Err() != nil {
				answer.outcome = clientAborted
			}
		}
		s.counts.ended(answer.outcome, answer.status, time.Since(started))
		if cause != nil {
			panic(cause)
		}
	}()
	s.proxies[component].ServeHTTP(answer, request)
}

func (s *slot) unrouted(w http.ResponseWriter) {
	s.counts.unrouted.Add(1)
	s.sign(w.Header())
	http.Error(w, "no component of this release serves this path", http.StatusNotFound)
}

// sign says who answers.
func (s *slot) sign(header http.Header) {
	header.Set(SlotHeader, string(s.name))
	header.Set(ReleaseHeader, s.instance.Release)
}

// upstream is a slot's connections to its components.
//
// A kept connection may be closed by the application at the moment the router writes a request into it, and then nobody
// knows whether the request was worked on (golang/go#22158). net/http sends such a request again only where doing it twice
// is harmless: GET, HEAD, OPTIONS, TRACE without a body. Every other request gets a connection of its own, which no server
// closes for being idle: a POST costs a handshake (tens of microseconds beside the application) and is never lost.
type upstream struct {
	kept  *http.Transport // for requests that net/http repeats
	fresh *http.Transport // for all others
}

func newUpstream(responseTimeout time.Duration) upstream {
	kept := &http.Transport{
		Proxy:                  nil, // HTTP_PROXY is about the outside
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		DisableCompression:     true, // pass on what the two sides negotiate
		MaxIdleConnsPerHost:    upstreamIdleConns,
		IdleConnTimeout:        upstreamIdle,
		ResponseHeaderTimeout:  responseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeader * 4,
	}
	fresh := kept.Clone()
	fresh.DisableKeepAlives = true
	return upstream{kept: kept, fresh: fresh}
}

// RoundTrip implements http.RoundTripper.
func (u upstream) RoundTrip(request *http.Request) (*http.Response, error) {
	if repeatable(request) {
		return u.kept.RoundTrip(request)
	}
	return u.fresh.RoundTrip(request)
}

func (u upstream) close() {
	u.kept.CloseIdleConnections()
	u.fresh.CloseIdleConnections()
}

func repeatable(request *http.Request) bool {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return request.Body == nil || request.Body == http.NoBody
	}
	return false
}
