package router

import (
	"fmt"
	"net/url"

	"github.com/metaextract/pipeline/deploy"
)

// Registration is what the router needs to know of an instance. It is what the state file and the control socket hold,
// so that neither ever sees a unit's environment.
type Registration struct {
	Release  string    `json:"release"`
	Source   string    `json:"source,omitempty"`
	Backends []Backend `json:"backends"`
}

// Backend is one component of an instance.
type Backend struct {
	Component string   `json:"component"`
	URL       string   `json:"url"` // http://127.0.0.1:41873
	Routes    []string `json:"routes"`
}

// NewRegistration is an instance's registration. Units without routes are left out: no request can reach them.
func NewRegistration(instance deploy.Instance) (Registration, error) {
	registration := Registration{Release: instance.Release.Version, Source: instance.Release.Source}
	for _, unit := range instance.Release.Units {
		if len(unit.Routes) == 0 {
			continue
		}
		endpoint := instance.Endpoints[unit.Component]
		if endpoint == nil {
			return Registration{}, invalid(fmt.Sprintf("component %s of release %s has routes but no endpoint",
				unit.Component, instance.Release.Version), "register what the target's Start returned")
		}
		registration.Backends = append(registration.Backends,
			Backend{Component: unit.Component, URL: endpoint.String(), Routes: unit.Routes})
	}
	return registration, registration.check()
}

func (r Registration) check() error {
	if len(r.Backends) == 0 {
		return invalid(fmt.Sprintf("release %q has no component with routes", r.Release),
			"give at least one component serve.routes: [/]")
	}
	for _, backend := range r.Backends {
		endpoint, err := url.Parse(backend.URL)
		if err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
			return invalid(fmt.Sprintf("component %s has the URL %q", backend.Component, backend.URL),
				"give one like http://127.0.0.1:8080")
		}
		if len(backend.Routes) == 0 {
			return invalid(fmt.Sprintf("component %s has no routes", backend.Component), "leave it out or give it a path prefix")
		}
	}
	_, err := r.routes()
	return err
}

func (r Registration) routes() (Routes, error) {
	units := make([]deploy.Unit, 0, len(r.Backends))
	seen := map[string]bool{}
	for _, backend := range r.Backends {
		if seen[backend.Component] {
			return Routes{}, invalid(fmt.Sprintf("component %s is there twice", backend.Component), "give it all its routes in one backend")
		}
		seen[backend.Component] = true
		units = append(units, deploy.Unit{Component: backend.Component, Routes: backend.Routes})
	}
	return NewRoutes(units)
}
