package rehearse

import (
	"context"
	"maps"
	"net"
	"slices"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/deploy"
	stage "github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/traffic"
	"github.com/metaextract/pipeline/deploy/verify"
	"github.com/metaextract/pipeline/migrations/backup"
	"github.com/metaextract/pipeline/migrations/statement"
)

// sandbox is the ephemeral copy of an environment: services, target, router.
type sandbox struct {
	deployment *deploy.Deployment
	journal    *journal
	target     deploy.Target
	url        string // of the router
	requests   []traffic.Request
	serve      context.CancelFunc
	served     chan error
	database   *database     // nil without one
	ahead      *backup.Ahead // nil without a database: the server for the backup's proof
	redis      *redis        // nil without one
	services   map[string]string
}

func (s *sandbox) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deploy.DefaultDrain)
	defer cancel()
	if s.serve != nil {
		s.serve()
		<-s.served //nolint:errcheck // a rehearsal is over: what the router says now changes nothing
	}
	s.redis.close()
	if s.ahead != nil {
		_ = s.ahead.Close(ctx) // the platform ends what is left
	}
	if s.target != nil {
		_ = s.target.Close(ctx) // the platform ends what is left
	}
}

// raise starts the services, brings the database to the running release's schema and puts a router in front.
func (r *run) raise(ctx context.Context) (*sandbox, error) {
	r.stages.begin("environment")
	s := &sandbox{}
	var err error
	if s.services, err = r.Platform.Services(ctx, r.neededServices()); err != nil {
		return s, broken("start the services: %w", err)
	}
	if s.redis, err = r.openRedis(ctx, s.services); err != nil {
		return s, broken("%w", err)
	}
	if s.target, err = r.Platform.Target(ctx); err != nil {
		return s, broken("prepare the target: %w", err)
	}
	if db := r.Release.Config.Database; db != nil {
		go statement.Warm() // takes a second, which the traffic before the migration covers
		s.database = &database{redis: s.redis, out: r.out, stages: r.stages, tests: r.old.statements, stage: &stage.Stage{
			Files: r.Release.Files, Config: db, URL: s.services[db.Env], Made: true, Dumper: r.Platform.Dumper(),
			Release: r.Release.Version, Running: r.Running.Version,
		}}
		if err := s.database.prepare(ctx, r.Running); err != nil {
			return s, broken("bring an empty database to the running release's schema: %w", err)
		}
		if s.ahead, err = backup.StartAhead(ctx, s.services[db.Env], r.Platform.Cluster()); err != nil {
			return s, broken("look at the database: %w", err)
		}
		s.database.stage.Cluster = s.ahead
	}
	if r.next.units, err = units(r.Release, r.next, s.services); err != nil {
		return s, broken("prepare the slots: %w", err)
	}
	if r.old.units, err = units(r.Running, r.old, s.services); err != nil {
		return s, broken("prepare the slots: %w", err)
	}
	if err := s.route(ctx, r); err != nil {
		return s, broken("start the router: %w", err)
	}
	return s, nil
}

// route serves the router on a free port of the loopback interface and wires the deployment to it.
func (s *sandbox) route(ctx context.Context, r *run) error {
	var err error
	if s.requests, err = traffic.FromConfig(r.Release.Files, r.Release.Config.Rehearsal.Requests); err != nil {
		return err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	split := router.New(router.Options{})
	ctx, s.serve = context.WithCancel(context.WithoutCancel(ctx))
	s.served = make(chan error, 1)
	go func() { s.served <- split.Serve(ctx, listener) }()
	s.url = "http://" + listener.Addr().String()
	s.journal = &journal{Journal: r.Journal, stages: r.stages}
	s.deployment = &deploy.Deployment{
		ID: r.out.Started.UTC().Format("20060102T150405"), Target: s.target, Splitter: split, Now: r.Now,
		Verifier: verify.New(verify.Options{Requests: s.requests}),
		Journal:  s.journal,
	}
	if s.database != nil {
		s.deployment.Database = s.database
	}
	return nil
}

// neededServices are those of the configuration; a database section implies PostgreSQL there.
func (r *run) neededServices() []ci.Service {
	var all []ci.Service
	for _, name := range slices.Sorted(maps.Keys(r.Release.Config.Services)) {
		s := r.Release.Config.Services[name]
		all = append(all, ci.Service{Kind: ci.ServiceKind(name), Version: s.Version, Env: s.Env})
	}
	return all
}
