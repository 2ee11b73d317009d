// Package plane is what a deployment needs of whatever moves its traffic: the project's own router, in this process or
// over its socket, or HAProxy. What one of them cannot do it leaves out of its abilities, and a plan that needs it is
// refused before anything is changed. All implementations pass deploy/router/routertest.
package plane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
)

// Plane moves traffic between slots. Implementations are safe for concurrent use; what they refuse is a *router.Error.
type Plane interface {
	deploy.Splitter
	// Abilities is what the plane can do beyond what every plane can, sorted.
	Abilities() []Ability
	// SetRules replaces the rules and experiments. They may name slots that are not registered yet.
	SetRules(ctx context.Context, routing router.Routing) error
	Rules(ctx context.Context) (router.Routing, error)
	// Records returns the requests that ended on a slot after a cursor; where there are none it waits until ctx ends, which
	// is no error.
	Records(ctx context.Context, slot deploy.Slot, from router.Cursor, limit int) (router.Batch, error)
	Status(ctx context.Context) (router.Status, error)
	// Pause holds new requests until Resume or until limit has passed. A plane without Pausing refuses it.
	Pause(ctx context.Context, limit time.Duration) error
	// Resume reports whether requests were still held.
	Resume(ctx context.Context) (stillHeld bool, err error)
}

// Ability is something that not every data plane can do.
type Ability string

// The abilities. Every plane splits by weight with sticky, monotone cohorts, follows rules by header, cookie, path, country
// and percentage, drains, and keeps records.
const (
	Experiments   Ability = "experiments with counted exposure"
	Mirroring     Ability = "mirroring"
	Pausing       Ability = "pause"
	Farewell      Ability = "drain that ends WebSockets and streams of events"
	AnyAttribute  Ability = "rules by headers and cookies that were not named at its start"
	ByAddress     Ability = "cohorts by client address"
	HTTPSBackends Ability = "applications behind https"
	Apology       Ability = "502 and a record where an application does not answer a request with a body of more than 16 KiB"
)

// All is every ability, sorted.
func All() []Ability {
	all := []Ability{Experiments, Mirroring, Pausing, Farewell, AnyAttribute, ByAddress, HTTPSBackends, Apology}
	slices.Sort(all)
	return all
}

// Missing is what is needed and not among the abilities, sorted and without repetition.
func Missing(needs, abilities []Ability) []Ability {
	var missing []Ability
	for _, need := range needs {
		if !slices.Contains(abilities, need) {
			missing = append(missing, need)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Refuse is Missing as an error for people, nil where nothing is missing.
func Refuse(plane string, needs, abilities []Ability) error {
	missing := Missing(needs, abilities)
	if len(missing) == 0 {
		return nil
	}
	names := make([]string, len(missing))
	for i, one := range missing {
		names[i] = string(one)
	}
	return &router.Error{
		Reason: router.Invalid, What: fmt.Sprintf("the data plane %s cannot do what the plan needs: %s", plane, strings.Join(names, "; ")),
		Do: "use the project's own router, or leave that out of the plan",
	}
}

// Needs is what a routing needs of a plane that reads the given headers and cookies. Names of headers are compared without
// regard to case.
func Needs(routing router.Routing, headers, cookies []string) []Ability {
	var needs []Ability
	if len(routing.Experiments) > 0 {
		needs = append(needs, Experiments)
	}
	for _, rule := range routing.Rules {
		header, cookie := rule.Match.Header, rule.Match.Cookie
		if header != nil && !slices.ContainsFunc(headers, func(name string) bool { return strings.EqualFold(name, header.Name) }) ||
			cookie != nil && !slices.Contains(cookies, cookie.Name) {
			needs = append(needs, AnyAttribute)
		}
	}
	slices.Sort(needs)
	return slices.Compact(needs)
}

// Here is a router in this process as a Plane.
type Here struct{ *router.Router }

// Abilities implements Plane.
func (Here) Abilities() []Ability { return All() }

// Rules implements Plane.
func (p Here) Rules(context.Context) (router.Routing, error) { return p.Router.Rules(), nil }

// Status implements Plane.
func (p Here) Status(context.Context) (router.Status, error) { return p.Stats(), nil }

// Pause implements Plane.
func (p Here) Pause(_ context.Context, limit time.Duration) error { return p.Router.Pause(limit) }

// Resume implements Plane.
func (p Here) Resume(context.Context) (bool, error) { return p.Router.Resume(), nil }

// There is a router in another process as a Plane.
type There struct{ *control.Client }

// Abilities implements Plane.
func (There) Abilities() []Ability { return All() }

var (
	_ Plane = Here{}
	_ Plane = There{}
)
