package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
)

// host is a machine of a site: its target and its splitter.
type host struct {
	*site
	name   string
	slots  map[Slot]*process
	routes map[Slot]*route
}

type process struct {
	version  string
	endpoint int
	quiet    bool
	ready    bool
}

type route struct {
	endpoint, weight, inFlight int
	version                    string
}

func (h *host) at(what string, args ...any) string {
	text := fmt.Sprintf(what, args...)
	if h.name != "" {
		text += " on " + h.name
	}
	return text
}

func (h *host) Start(_ context.Context, slot Slot, release Release) (instance Instance, err error) {
	err = h.ask(h.at("start %s in %s", release.Version, slot), func() error {
		if h.slots[slot] != nil {
			h.complain("%s was started where %s runs", release.Version, h.slots[slot].version)
			return errors.New("in use")
		}
		if other := h.slots[slot.Other()]; h.strategy == Recreate && other != nil {
			h.complain("%s was started while %s has the volume", release.Version, other.version)
		}
		h.endpoint++
		h.slots[slot] = &process{version: release.Version, endpoint: h.endpoint}
		instance = h.instance(slot, release)
		return nil
	})
	return instance, err
}

func (h *host) instance(slot Slot, release Release) Instance {
	at, _ := url.Parse(fmt.Sprintf("http://127.0.0.1:%d", h.slots[slot].endpoint))
	return Instance{Slot: slot, Release: release, Endpoints: map[string]*url.URL{"web": at}}
}

func (h *host) Running(_ context.Context, slot Slot) (Instance, bool, error) {
	h.point()
	p := h.slots[slot]
	if p == nil {
		return Instance{}, false, nil
	}
	return h.instance(slot, Release{Version: p.version}), true, nil
}

func (h *host) Alive(_ context.Context, slot Slot) error {
	h.point()
	if h.slots[slot] == nil {
		return fmt.Errorf("%s runs nothing", slot)
	}
	return h.fails["alive"]
}
func (h *host) Logs(context.Context, Slot) (map[string]string, error) { return nil, nil }

func (h *host) Stop(_ context.Context, slot Slot) error {
	return h.ask(h.at("stop %s", slot), func() error {
		if r := h.routes[slot]; r != nil && h.slots[slot] != nil && r.endpoint == h.slots[slot].endpoint && r.inFlight > 0 && !h.down() {
			h.complain("%d requests on %s were cut off", r.inFlight, slot)
		}
		delete(h.slots, slot)
		return nil
	})
}

func (h *host) Quiet(_ context.Context, slot Slot) error { return h.hush("quiet", slot, true) }
func (h *host) Wake(_ context.Context, slot Slot) error  { return h.hush("wake", slot, false) }
func (h *host) hush(what string, slot Slot, quiet bool) error {
	return h.ask(h.at("%s %s", what, slot), func() error {
		if p := h.slots[slot]; p != nil {
			p.quiet = quiet
		}
		return nil
	})
}

// Ready asks whoever listens where the instance is said to be.
func (s *site) Ready(_ context.Context, i Instance, alive func() error) error {
	return s.ask("ready "+i.Release.Version, func() error {
		for _, h := range s.hosts {
			if p := h.slots[i.Slot]; p != nil && strconv.Itoa(p.endpoint) == i.Endpoints["web"].Port() {
				p.ready = true
				return alive()
			}
		}
		return errors.New("nobody answers there")
	})
}

func (s *site) Smoke(_ context.Context, i Instance) error {
	return s.ask("smoke "+i.Release.Version, func() error { return nil })
}

func (h *host) Register(_ context.Context, i Instance) error {
	return h.ask(h.at("register %s", i.Slot), func() error {
		endpoint, _ := strconv.Atoi(i.Endpoints["web"].Port())
		old := h.routes[i.Slot]
		switch {
		case old != nil && old.endpoint == endpoint:
			return nil
		case old != nil && old.weight > 0:
			return fmt.Errorf("%s has %d %% of the traffic", i.Slot, old.weight)
		}
		h.routes[i.Slot] = &route{endpoint: endpoint, version: i.Release.Version}
		return nil
	})
}

func (h *host) Shift(_ context.Context, weights map[Slot]int) error {
	var text string
	for _, slot := range slices.Sorted(maps.Keys(weights)) {
		text += fmt.Sprintf(" %s %d", slot, weights[slot])
	}
	return h.ask(h.at("shift%s", text), func() error {
		for slot := range weights {
			if h.routes[slot] == nil {
				return fmt.Errorf("%s is not registered", slot)
			}
		}
		for slot, r := range h.routes {
			if r.weight > 0 && weights[slot] == 0 {
				r.inFlight = 1
				if p, last := h.slots[slot], h.entries[len(h.entries)-1].State; p != nil && !p.quiet && last == Shifting && h.strategy != Recreate {
					h.complain("traffic left %s while its workers took jobs", slot)
				}
			}
			r.weight = weights[slot]
		}
		return nil
	})
}

func (h *host) Drain(_ context.Context, slot Slot) (int, error) {
	return 0, h.ask(h.at("drain %s", slot), func() error {
		if r := h.routes[slot]; r != nil {
			if r.weight > 0 {
				return fmt.Errorf("%s has %d %% of the traffic", slot, r.weight)
			}
			r.inFlight = 0
		}
		return nil
	})
}

func (h *host) Remove(_ context.Context, slot Slot) error {
	return h.ask(h.at("remove %s", slot), func() error {
		if r := h.routes[slot]; r != nil && r.weight > 0 {
			return fmt.Errorf("%s has %d %% of the traffic", slot, r.weight)
		} else if r != nil && r.inFlight > 0 && !h.down() {
			h.complain("%s was forgotten with requests in flight", slot)
		}
		delete(h.routes, slot)
		return nil
	})
}
