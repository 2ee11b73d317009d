package plane_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/control"
	"github.com/metaextract/pipeline/deploy/router/plane"
	"github.com/metaextract/pipeline/deploy/router/routertest"
)

func TestWhatIsMissingIsNamedOnceAndInOrder(t *testing.T) {
	for name, c := range map[string]struct{ needs, able, want []plane.Ability }{
		"nothing is needed":    {nil, nil, nil},
		"all is there":         {[]plane.Ability{plane.Pausing}, plane.All(), nil},
		"nothing is there":     {[]plane.Ability{plane.Pausing, plane.Mirroring, plane.Pausing}, nil, []plane.Ability{plane.Mirroring, plane.Pausing}},
		"a part is there":      {[]plane.Ability{plane.Pausing, plane.Mirroring}, []plane.Ability{plane.Mirroring}, []plane.Ability{plane.Pausing}},
		"more is there anyway": {[]plane.Ability{plane.Mirroring}, []plane.Ability{plane.Pausing, plane.Mirroring}, nil},
	} {
		require.Equal(t, c.want, plane.Missing(c.needs, c.able), name)
	}
	require.NoError(t, plane.Refuse("p", plane.All(), plane.All()))
	require.EqualError(t, plane.Refuse("HAProxy", []plane.Ability{plane.Pausing, plane.Mirroring}, nil),
		"the data plane HAProxy cannot do what the plan needs: mirroring; pause; use the project's own router, or leave that out of the plan")
}

func TestNeedsOfARouting(t *testing.T) {
	header := func(name string) router.Routing {
		return router.Routing{Rules: []router.Rule{{Name: "r", Match: router.Match{Header: &router.Value{Name: name}}, Slot: deploy.Blue}}}
	}
	cookie := router.Routing{Rules: []router.Rule{{Name: "r", Match: router.Match{Cookie: &router.Value{Name: "Beta"}}, Slot: deploy.Blue}}}
	require.Empty(t, plane.Needs(router.Routing{}, nil, nil))
	require.Empty(t, plane.Needs(header("x-STAFF"), []string{"X-Staff"}, nil), "headers are one in any letters")
	require.Equal(t, []plane.Ability{plane.AnyAttribute}, plane.Needs(header("X-Other"), []string{"X-Staff"}, nil))
	require.Equal(t, []plane.Ability{plane.AnyAttribute}, plane.Needs(cookie, nil, []string{"beta"}), "cookies are not")
	require.Equal(t, []plane.Ability{plane.Experiments}, plane.Needs(router.Routing{Experiments: []router.Experiment{{}, {}}}, nil, nil))
}

// A router behind its control socket is a data plane as well.
func TestConformance(t *testing.T) {
	routertest.Run(t, routertest.Suite{New: func(t *testing.T) *routertest.Stage {
		dir, err := os.MkdirTemp("", "plane") // a test's own directory has too long a path for sockets
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		socket := filepath.Join(dir, "control.sock")
		s := &routertest.Stage{Plane: plane.There{Client: control.NewClient(socket)}}
		address, stop := "127.0.0.1:0", func() {}
		s.Restart = func(t *testing.T) {
			stop()
			r, err := router.Load(filepath.Join(dir, "state"), router.Options{ResponseTimeout: 2 * time.Second})
			require.NoError(t, err)
			public, err := net.Listen("tcp", address)
			require.NoError(t, err)
			address = public.Addr().String()
			private, err := control.Listen(socket)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 2)
			go func() { ended <- r.Serve(ctx, public) }()
			go func() { ended <- control.NewServer(r).Serve(ctx, private) }()
			stop = func() {
				cancel()
				<-ended
				<-ended
			}
			s.URL = "http://" + address
		}
		s.Restart(t)
		t.Cleanup(func() { stop() })
		return s
	}})
}
