package haproxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
)

// ready gives a slot's servers their addresses and takes them out of maintenance. HAProxy's answers are texts for people, so
// that what it did is read back.
func (p *Plane) ready(ctx context.Context, s *slot) error {
	servers, err := p.admin.servers(ctx)
	if err != nil {
		return err
	}
	said := ""
	for i, address := range s.addresses {
		for _, name := range []string{backendName(s.Slot, i), backendName(s.Slot, i) + once} {
			if servers[name] == (server{address, true}) {
				continue
			}
			host, port, _ := net.SplitHostPort(address)
			answer, err := p.admin.run(ctx, fmt.Sprintf("set server %s/app addr %s port %s; set server %[1]s/app state ready", name, host, port))
			if err != nil {
				return err
			}
			said += answer
		}
	}
	if said == "" {
		return nil
	}
	if servers, err = p.admin.servers(ctx); err != nil {
		return err
	}
	for i, address := range s.addresses {
		for _, name := range []string{backendName(s.Slot, i), backendName(s.Slot, i) + once} {
			if servers[name] != (server{address, true}) {
				return fmt.Errorf("HAProxy did not take %s as the address of %s: %s", address, name, said)
			}
		}
	}
	return nil
}

// disable puts a slot's servers into maintenance and gives them an address that nobody has, which closes their idle
// connections (srv_cleanup_connections in src/server.c).
func (p *Plane) disable(ctx context.Context, name deploy.Slot) error {
	host, port, _ := net.SplitHostPort(unset)
	for i := range p.options.Components {
		for _, server := range []string{backendName(name, i), backendName(name, i) + once} {
			_, err := p.admin.run(ctx, fmt.Sprintf("set server %s/app state maint; set server %[1]s/app addr %s port %s", server, host, port))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func inFlight(stats map[string]stat, name deploy.Slot, components int) (n int) {
	for i := range components {
		n += stats[backendName(name, i)].current + stats[backendName(name, i)+once].current
	}
	return n
}

// addresses are where a registration's backends listen, in HAProxy's terms: an IP address and a port.
func addresses(registration router.Registration, components int) ([]string, error) {
	if len(registration.Backends) > components {
		return nil, invalid(fmt.Sprintf("release %s has %d components with routes", registration.Release, len(registration.Backends)),
			fmt.Sprintf("start HAProxy for more than %d", components))
	}
	var all []string
	for _, backend := range registration.Backends {
		wrong := func(why, do string) error {
			return invalid(fmt.Sprintf("component %s has the URL %q: %s", backend.Component, backend.URL, why), do)
		}
		endpoint, err := url.Parse(backend.URL)
		switch {
		case err != nil:
			return nil, wrong(err.Error(), "give one like http://127.0.0.1:8080")
		case endpoint.Scheme != "http":
			return nil, wrong("HAProxy speaks http to applications here", "use the project's own router")
		case endpoint.Path != "" && endpoint.Path != "/":
			return nil, wrong("it has a path", "serve the component at /")
		}
		host, port := endpoint.Hostname(), endpoint.Port()
		if host == "localhost" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "80"
		}
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return nil, wrong("HAProxy is told no names of hosts", "give an IP address")
		}
		for _, prefix := range backend.Routes {
			if len(prefix) > maxValue {
				return nil, wrong(fmt.Sprintf("a route has more than %d bytes", maxValue), "shorten it")
			}
		}
		all = append(all, net.JoinHostPort(ip.String(), port))
	}
	return all, nil
}
