package router_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/router/plane"
	"github.com/metaextract/pipeline/deploy/router/routertest"
)

func TestConformance(t *testing.T) {
	routertest.Run(t, routertest.Suite{New: func(t *testing.T) *routertest.Stage {
		path := filepath.Join(t.TempDir(), "state")
		address, stop := "127.0.0.1:0", func() {}
		s := &routertest.Stage{}
		s.Restart = func(t *testing.T) {
			stop()
			r, err := router.Load(path, router.Options{ResponseTimeout: 2 * time.Second})
			require.NoError(t, err)
			listener, err := net.Listen("tcp", address)
			require.NoError(t, err)
			address = listener.Addr().String()
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- r.Serve(ctx, listener) }()
			stop = func() {
				cancel()
				<-ended
			}
			s.Plane, s.URL = plane.Here{Router: r}, "http://"+address
		}
		s.Restart(t)
		t.Cleanup(func() { stop() })
		return s
	}})
}
