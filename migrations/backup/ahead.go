package backup

import (
	"context"
	"reflect"
	"sync"

	"github.com/metaextract/pipeline/internal/pg"
)

// Ahead is a Cluster that has begun to start a server before it is asked for one, which is what the proof of a small
// backup waits for most. Close it.
type Ahead struct {
	cluster Cluster
	like    Server
	stop    context.CancelFunc
	begun   chan struct{} // closed when server is there, or could not be started

	mu     sync.Mutex
	server Scratch // nil once it was handed out
}

var _ Cluster = (*Ahead)(nil)

// StartAhead begins to start a server like the one that a database is on, and returns without waiting for it. It is an error
// that the database cannot be looked at.
func StartAhead(ctx context.Context, url string, cluster Cluster) (*Ahead, error) {
	conn, err := pg.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer pg.HangUp(ctx, conn)
	from, err := look(ctx, conn)
	if err != nil {
		return nil, err
	}
	a := &Ahead{cluster: cluster, like: from.server(), begun: make(chan struct{})}
	ctx, a.stop = context.WithCancel(ctx)
	go func() {
		defer close(a.begun)
		a.server, _ = cluster.Start(ctx, from.server()) // who asks for it tries again, and gets the error
	}()
	return a, nil
}

// Start hands out the server that was begun, once and where it is like the one that is asked for; it starts another
// otherwise.
func (a *Ahead) Start(ctx context.Context, like Server) (Scratch, error) {
	select {
	case <-a.begun:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if reflect.DeepEqual(like, a.like) {
		if server := a.take(); server != nil {
			return server, nil
		}
	}
	return a.cluster.Start(ctx, like)
}

// Close ends the server where nobody has asked for it, also when the context has ended.
func (a *Ahead) Close(ctx context.Context) error {
	a.stop()
	<-a.begun
	if server := a.take(); server != nil {
		return server.Close(ctx)
	}
	return nil
}

func (a *Ahead) take() Scratch {
	a.mu.Lock()
	defer a.mu.Unlock()
	server := a.server
	a.server = nil
	return server
}
