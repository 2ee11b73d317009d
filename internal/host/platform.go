package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/deploy/target/local"
	"github.com/metaextract/pipeline/migrations/backup"
)

// PlatformOptions say how a Platform runs steps.
type PlatformOptions struct {
	CacheDir string
	Jobs     int
	NoCache  bool
}

// Platform is this machine as a place for a rehearsal: steps, services and slots are processes that end with it.
type Platform struct {
	options PlatformOptions
	scratch *scratch

	mu     sync.Mutex
	opened []func() error // closed in reverse
}

var _ rehearse.Platform = (*Platform)(nil)

// NewPlatform makes a platform. Close it.
func NewPlatform(options PlatformOptions) (*Platform, error) {
	scratch, err := newScratch()
	if err != nil {
		return nil, err
	}
	return &Platform{options: options, scratch: scratch}, nil
}

// Name is "host".
func (*Platform) Name() string { return "host" }

// Builder makes a runner on the application's directory.
func (p *Platform) Builder(_ context.Context, app rehearse.Application, observer ci.Observer) (rehearse.Builder, error) {
	runner, err := New(Options{
		Source: app.Dir, CacheDir: p.options.CacheDir, Jobs: p.options.Jobs, NoCache: p.options.NoCache, Observer: observer,
	})
	if err != nil {
		return nil, err
	}
	p.defers(runner.Close)
	return runner, nil
}

// Services starts a PostgreSQL server with one empty database, and a Redis server, as asked.
func (p *Platform) Services(ctx context.Context, services []ci.Service) (map[string]string, error) {
	urls := map[string]string{}
	for _, service := range services {
		dir, err := os.MkdirTemp(p.scratch.dir, string(service.Kind)+"-")
		if err != nil {
			return nil, explain(fmt.Errorf("make directory for %s: %w", service.Kind, err), p.scratch.dir)
		}
		switch service.Kind {
		case ci.Postgres:
			server, err := startRecording(ctx, dir, PostgresOptions{CacheDir: p.options.CacheDir})
			if err != nil {
				return nil, err
			}
			p.defers(server.Close)
			if urls[service.Env], err = server.CreateDatabase(ctx, "application"); err != nil {
				return nil, err
			}
		case ci.Redis:
			server, err := StartRedis(ctx, dir)
			if err != nil {
				return nil, err
			}
			p.defers(server.Close)
			urls[service.Env] = server.URL()
		default:
			return nil, fmt.Errorf("service %s: a host can start postgres and redis", service.Kind)
		}
	}
	return urls, nil
}

// Target runs slots as processes.
func (p *Platform) Target(context.Context) (deploy.Target, error) {
	dir, err := p.scratch.temp("slots")
	if err != nil {
		return nil, err
	}
	return local.New(local.Options{Dir: dir, Env: baseEnv(), Redact: passedPasswords()})
}

// Dumper is pg_dump and pg_restore.
func (*Platform) Dumper() backup.Dumper { return Dumper{} }

// Cluster starts scratch servers as processes.
func (p *Platform) Cluster() backup.Cluster { return Cluster{CacheDir: p.options.CacheDir} }

func (p *Platform) defers(end func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = append(p.opened, end)
}

// Close ends everything. Closing twice is no error.
func (p *Platform) Close() error {
	p.mu.Lock()
	opened := p.opened
	p.opened = nil
	p.mu.Unlock()
	var errs []error
	for i := len(opened) - 1; i >= 0; i-- {
		errs = append(errs, opened[i]())
	}
	return errors.Join(append(errs, p.scratch.close())...)
}
