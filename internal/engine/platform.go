package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/rehearse"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/migrations/backup"
)

// PlatformOptions say how a Platform runs steps and makes images.
type PlatformOptions struct {
	Client  *dagger.Client
	NoCache bool
	Images  ImageOptions
}

// Platform is the engine as a place for a rehearsal: steps are containers, servers and slots are services, and what a
// slot runs is the image that would be published. The rehearsal itself (router, traffic, migrations) runs in the
// function that uses the platform.
type Platform struct {
	options PlatformOptions
	since   time.Time

	mu      sync.Mutex
	images  map[string]*dagger.Container // by the reference that units name
	servers []*dagger.Service
	version string // of PostgreSQL
}

var _ rehearse.Platform = (*Platform)(nil)

// NewPlatform makes a platform. Close it.
func NewPlatform(options PlatformOptions) *Platform {
	return &Platform{options: options, since: time.Now(), images: map[string]*dagger.Container{}}
}

// Name is "engine".
func (*Platform) Name() string { return Name }

// Builder makes a runner on an application that Open has read.
func (p *Platform) Builder(_ context.Context, app rehearse.Application, observer ci.Observer) (rehearse.Builder, error) {
	files, ok := app.Files.(*tree)
	if !ok {
		return nil, errors.New("the engine has not got the files of this application; open it with engine.Open")
	}
	runner := New(Options{
		Client: p.options.Client, Source: files.directory, NoCache: p.options.NoCache, Observer: observer, Since: p.since,
	})
	app.Files = files.FS
	return &builder{
		Runner: runner, platform: p, app: &Application{Application: app, Directory: files.directory}, references: map[string]string{},
	}, nil
}

// builder is a runner whose build steps are handed over as images.
type builder struct {
	*Runner
	platform *Platform
	app      *Application

	mu         sync.Mutex
	references map[string]string // of the images, by component
}

// Run runs the steps and makes the images of what they built, so that a slot has only to be started later. A release
// that a test refuses is rehearsed all the same, so its images are made too.
func (b *builder) Run(ctx context.Context, steps ...ci.Step) ([]ci.Result, error) {
	results, err := b.Runner.Run(ctx, steps...)
	if err != nil {
		return results, err
	}
	errs := make([]error, len(steps))
	var all sync.WaitGroup
	for i, step := range steps {
		if step.Kind == ci.Build && results[i].Status == ci.Passed && b.app.Config.Components[step.Component].Serve != nil {
			all.Go(func() { errs[i] = b.make(ctx, step) })
		}
	}
	all.Wait()
	return results, errors.Join(errs...)
}

func (b *builder) make(ctx context.Context, step ci.Step) error {
	container, err := b.Image(ctx, b.app, step, b.platform.options.Images)
	if err != nil {
		return err
	}
	reference := b.platform.keep(fmt.Sprintf("%s-%s:%s", b.app.Config.Name, step.Component, b.app.Version), container)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.references[step.Component] = reference
	return nil
}

// Artifact is the reference of the image of the component that a step has built.
func (b *builder) Artifact(step ci.Step) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	reference, ok := b.references[step.Component]
	if !ok {
		return "", fmt.Errorf("there is no image of %s", step.Component)
	}
	return reference, nil
}

// keep gives an image a reference. Two releases may call themselves the same.
func (p *Platform) keep(name string, container *dagger.Container) (reference string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	reference = name
	for n := 2; p.images[reference] != nil; n++ {
		reference = fmt.Sprintf("%s-%d", name, n)
	}
	p.images[reference] = container
	return reference
}

// image finds an image by its reference.
func (p *Platform) image(reference string) (*dagger.Container, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	container, ok := p.images[reference]
	return container, ok
}

// Services starts servers. Their hosts are names that slots and this process can resolve without being bound to them.
func (p *Platform) Services(ctx context.Context, services []ci.Service) (map[string]string, error) {
	urls := map[string]string{}
	for _, service := range services {
		server, err := newServer(p.options.Client, service, rand.Text())
		if err != nil {
			return nil, err
		}
		started, err := server.service.Start(ctx)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", service.Kind, err)
		}
		p.mu.Lock()
		p.servers = append(p.servers, started)
		if service.Kind == ci.Postgres {
			p.version = service.Version
		}
		p.mu.Unlock()
		host, err := started.Hostname(ctx)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", service.Kind, err)
		}
		urls[service.Env] = server.url(host)
	}
	return urls, nil
}

// Target runs slots as services.
func (p *Platform) Target(context.Context) (deploy.Target, error) {
	return NewTarget(p.options.Client, p.image), nil
}

// Dumper runs pg_dump and pg_restore in containers.
func (p *Platform) Dumper() backup.Dumper {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &Dumper{Client: p.options.Client, Tag: p.version}
}

// Cluster starts scratch servers as services.
func (p *Platform) Cluster() backup.Cluster { return &Cluster{Client: p.options.Client} }

// Close ends the servers. Closing twice is no error.
func (p *Platform) Close(ctx context.Context) error {
	p.mu.Lock()
	servers := p.servers
	p.servers = nil
	p.mu.Unlock()
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, server := range servers {
		all.Go(func() { _, errs[i] = server.Stop(ctx, dagger.ServiceStopOpts{Kill: true}) })
	}
	all.Wait()
	return errors.Join(errs...)
}
