package router

import (
	"net/http"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// slot is a registered instance: where its components listen, its connections to them, and what it counted.
type slot struct {
	name      deploy.Slot
	instance  Registration
	routes    Routes
	upstreams map[string]*upstream // by component
	flight    flight
	streams   streams
	counts    counts
	records   records
	totals    *totals // of the slot's name: they outlive the instance

	signature, release []string // values of the headers that say who answered
}

func newSlot(name deploy.Slot, instance Registration, r *Router) (*slot, error) {
	routes, err := instance.routes()
	if err != nil {
		return nil, err
	}
	s := &slot{
		name: name, instance: instance, routes: routes, upstreams: make(map[string]*upstream, len(instance.Backends)),
		signature: []string{string(name)}, release: []string{instance.Release}, totals: r.totalsOf(name),
	}
	s.records.init(r.options.Records)
	for _, backend := range instance.Backends {
		if s.upstreams[backend.Component], err = newUpstream(backend.Component, backend.URL); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// serve takes a request to the component that serves its path and counts how it ended.
func (s *slot) serve(x *exchange) {
	component, ok := s.routes.Component(x.request.URL.Path)
	if !ok || x.request.Method == http.MethodConnect {
		s.counts.unrouted.Add(1)
		x.sign(x.w.Header())
		http.Error(x.w, "no component of this release serves this path", http.StatusNotFound)
		return
	}
	x.upstream = s.upstreams[component]
	whole := false
	defer func() {
		if !whole && x.outcome == answered { // a panic that is not ours
			x.outcome = truncated
		}
		x.router.ended(x, time.Since(x.started))
	}()
	x.run()
	whole = true
}

func (s *slot) closeIdle() {
	for _, u := range s.upstreams {
		u.closeIdle()
	}
}

func (s *slot) retire() {
	for _, u := range s.upstreams {
		u.retire()
	}
}
