package host

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/metaextract/pipeline/ci"
)

// startService gives a step a server of its own: a fresh database in the runner's PostgreSQL cluster, or a Redis process.
// Close takes it away.
func (r *Runner) startService(ctx context.Context, service ci.Service, tmp string) (url string, server io.Closer, err error) {
	switch service.Kind {
	case ci.Postgres:
		return r.postgres.database(ctx)
	case ci.Redis:
		redis, err := StartRedis(ctx, filepath.Join(tmp, "redis-"+fileName(service.Env)))
		if err != nil {
			return "", nil, err
		}
		return redis.URL(), redis, nil
	default:
		return "", nil, fmt.Errorf("a host cannot start a service of kind %q; it knows %s and %s", service.Kind, ci.Postgres, ci.Redis)
	}
}

// serviceVersion describes the program of a service, for keys.
func (r *Runner) serviceVersion(ctx context.Context, kind ci.ServiceKind) (string, error) {
	switch kind {
	case ci.Postgres:
		bin, err := findPostgres()
		return bin.version, err
	case ci.Redis:
		p, err := r.programs.find(ctx, redisProgram)
		return p.version, err
	default:
		return "", fmt.Errorf("a host cannot start a service of kind %q; it knows %s and %s", kind, ci.Postgres, ci.Redis)
	}
}

// sharedPostgres is the cluster that the steps of a runner share. It is started when the first step asks: a cluster
// takes a second and 30 MB, a database in it 30 ms.
type sharedPostgres struct {
	dir   string
	store *store
	made  atomic.Int64 // databases

	mu     sync.Mutex
	server *Postgres
}

// database makes a database. Closing it drops it.
func (p *sharedPostgres) database(ctx context.Context) (string, io.Closer, error) {
	server, err := p.start(ctx)
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprintf("step_%d", p.made.Add(1))
	url, err := server.CreateDatabase(ctx, name)
	if err != nil {
		return "", nil, err
	}
	return url, droppedDatabase{server, name}, nil
}

func (p *sharedPostgres) start(ctx context.Context) (*Postgres, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		select {
		case <-p.server.Done(): // somebody ended it; the next step gets another one
			_ = p.server.Close()
		default:
			return p.server, nil
		}
	}
	removeTree(p.dir)
	server, err := startRecording(ctx, p.dir, PostgresOptions{CacheDir: p.store.dir})
	if err != nil {
		return nil, err
	}
	p.server = server
	return server, nil
}

func (p *sharedPostgres) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	return p.server.Close()
}

type droppedDatabase struct {
	server *Postgres
	name   string
}

// statements are what was sent to the database.
func (d droppedDatabase) statements(ctx context.Context) ([]byte, error) {
	return d.server.recorded(ctx, d.name, "tests")
}

// Close drops the database, and ends connections that a step left open.
func (d droppedDatabase) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	return d.server.DropDatabase(ctx, d.name)
}
