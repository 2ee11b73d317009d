package rehearse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/router"
	"github.com/metaextract/pipeline/deploy/traffic"
	"github.com/metaextract/pipeline/deploy/verify"
)

// stage is the ephemeral copy of an environment: services, target, router.
type stage struct {
	deployment *deploy.Deployment
	target     deploy.Target
	url        string // of the router
	serve      context.CancelFunc
	served     chan error
	database   *database // nil without one
	services   map[string]string
}

func (s *stage) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deploy.DefaultDrain)
	defer cancel()
	if s.serve != nil {
		s.serve()
		<-s.served
	}
	if s.target != nil {
		_ = s.target.Close(ctx) // the platform ends what is left
	}
}

// raiseStage starts the services, brings the database to the running release's schema and puts a router in front.
func (r *run) raiseStage(ctx context.Context) (*stage, error) {
	r.stages.begin("environment")
	s := &stage{}
	var err error
	if s.services, err = r.Platform.Services(ctx, r.neededServices()); err != nil {
		return s, broken("start the services: %w", err)
	}
	if s.target, err = r.Platform.Target(ctx); err != nil {
		return s, broken("prepare the target: %w", err)
	}
	if db := r.Release.Config.Database; db != nil {
		s.database = &database{url: s.services[db.Env], release: r.Release, dumper: r.Platform.Dumper(), out: r.out, stages: r.stages}
		if err := s.database.prepare(ctx, r.Running); err != nil {
			return s, broken("bring an empty database to the running release's schema: %w", err)
		}
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
func (s *stage) route(ctx context.Context, r *run) error {
	requests, err := traffic.FromConfig(r.Release.Files, r.requests())
	if err != nil {
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
	s.deployment = &deploy.Deployment{
		ID: r.out.Started.UTC().Format("20060102T150405"), Target: s.target, Splitter: split, Now: r.Now,
		Verifier: verify.New(verify.Options{Requests: requests}),
		Journal:  &journal{Journal: r.Journal, stages: r.stages, name: func(st deploy.State) string { return stageOf[st] }},
	}
	if s.database != nil {
		s.deployment.Database = s.database
	}
	return nil
}

// requests are the configured ones, or GET on every health path.
func (r *run) requests() []request {
	if all := r.Release.Config.Rehearsal.Requests; len(all) > 0 {
		return all
	}
	var all []request
	for _, name := range slices.Sorted(maps.Keys(r.Release.Config.Components)) {
		serve := r.Release.Config.Components[name].Serve
		if serve == nil || len(serve.Routes) == 0 {
			continue
		}
		all = append(all, request{Name: name, Method: http.MethodGet, Path: serve.Routes[0]})
	}
	return all
}

// neededServices are those of the configuration, and PostgreSQL for the migrations.
func (r *run) neededServices() []ci.Service {
	var all []ci.Service
	for _, name := range slices.Sorted(maps.Keys(r.Release.Config.Services)) {
		s := r.Release.Config.Services[name]
		all = append(all, ci.Service{Kind: ci.ServiceKind(name), Version: s.Version, Env: s.Env})
	}
	return all
}

// perform is the play: the running release under traffic, the new one beside it, the switch, back and forward again.
func (r *run) perform(ctx context.Context, s *stage) error {
	settings := r.Release.Config.Rehearsal
	d := s.deployment

	r.stages.begin("running release")
	old := deploy.Release{Version: r.Running.Version, Source: r.Running.Origin, Units: r.old.units}
	if err := r.named("running release", func() error { return d.Launch(ctx, deploy.Blue, old) }, d); err != nil {
		if r.Self || ctx.Err() != nil {
			return fmt.Errorf("start the release: %w", err)
		}
		return broken("the running release (%s) does not start, so there is nothing to rehearse from: %w", r.Running.Origin, err)
	}

	requests, err := traffic.FromConfig(r.Release.Files, r.requests())
	if err != nil {
		return broken("prepare the traffic: %w", err)
	}
	load := &load{Generator: traffic.New(traffic.Options{
		Target: s.url, Requests: requests, Clients: settings.Clients, Rate: settings.Rate,
	}), run: r, phase: settings.Phase}
	if err := load.start(ctx); err != nil {
		return broken("start the traffic: %w", err)
	}
	defer load.stop()

	r.stages.begin("traffic")
	if err := load.watch(ctx, "running release"); err != nil {
		if r.Self {
			return err
		}
		return broken("the running release fails under traffic before anything is changed: %w", err)
	}

	d.Bake = func(ctx context.Context) error { return load.watch(ctx, "new release") }
	load.Mark("deploy")
	if err := r.deploy(ctx, s, load); err != nil {
		return err
	}
	if err := r.drill(ctx, d, load); err != nil {
		return err
	}
	return d.Retire(ctx)
}

// deploy runs the deployment as production would.
func (r *run) deploy(ctx context.Context, s *stage, load *load) error {
	inner := s.deployment.Splitter
	s.deployment.Splitter = &marking{Splitter: inner, load: load}
	next := deploy.Release{Version: r.Release.Version, Source: r.Release.Origin, Units: r.next.units}
	err := s.deployment.Run(ctx, next)
	var step *deploy.StepError
	if errors.As(err, &step) && step.State == deploy.BackingUp {
		return broken("%w", err)
	}
	return err
}

// drill rolls back to the old release under traffic and forward again, and measures the way back.
func (r *run) drill(ctx context.Context, d *deploy.Deployment, load *load) error {
	defer func(f func(deploy.State) string) { d.Journal.(*journal).name = f }(d.Journal.(*journal).name)
	before := load.Snapshot().Failed
	rollback := &report.Rollback{}
	r.out.Rollback = rollback
	for _, way := range []string{"rollback", "forward"} {
		r.stages.begin(way)
		d.Journal.(*journal).name = func(deploy.State) string { return way }
		left := d.Serving().Slot
		from := r.Now()
		if err := d.RollBack(ctx); err != nil {
			return fmt.Errorf("%s drill: %w", way, err)
		}
		if way == "rollback" {
			rollback.Seconds = r.Now().Sub(from).Seconds()
			r.stages.detail(fmt.Sprintf("all traffic off %s after %s", left, r.Now().Sub(from).Round(time.Millisecond)))
		}
		if err := load.watch(ctx, way+" drill"); err != nil {
			return err
		}
	}
	rollback.Failed = load.Snapshot().Failed - before
	rollback.Proven = rollback.Failed == 0
	return nil
}

// named shows all of the deployment's states as one stage while act runs.
func (r *run) named(stage string, act func() error, d *deploy.Deployment) error {
	j := d.Journal.(*journal)
	usual := j.name
	j.name = func(deploy.State) string { return stage }
	defer func() { j.name = usual }()
	return act()
}
