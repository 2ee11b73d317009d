package rehearse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metaextract/pipeline/ci/report"
	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/traffic"
)

// perform is the play: the running release under traffic, the new one beside it, the switch, back and forward again.
func (r *run) perform(ctx context.Context, s *sandbox) error {
	if err := r.launch(ctx, s); err != nil {
		return err
	}
	load, err := r.startLoad(ctx, s)
	if err != nil {
		return err
	}
	defer load.stop()
	if err := load.watch(ctx, "running release"); err != nil {
		if r.Self || ctx.Err() != nil {
			return err
		}
		return broken("the running release fails under traffic before anything is changed: %w", err)
	}

	if err := s.redis.mark(ctx, oldKeys); err != nil {
		return err
	}
	s.deployment.Bake = func(ctx context.Context) error { return bake(ctx, s, load) }
	s.deployment.Splitter = &marking{Splitter: s.deployment.Splitter, load: load}
	if err := r.deploy(ctx, s.deployment); err != nil {
		return err
	}
	if err := r.drill(ctx, s, load); err != nil {
		return err
	}
	return s.deployment.Retire(ctx)
}

// bake lets the new release have all traffic for a phase, and looks at what it does to the keys.
func bake(ctx context.Context, s *sandbox, load *load) error {
	if err := s.redis.mark(ctx, startKeys); err != nil {
		return err
	}
	if err := load.watch(ctx, "new release"); err != nil {
		return err
	}
	if err := s.redis.mark(ctx, newKeys); err != nil {
		return err
	}
	return s.redis.judge(ctx)
}

// launch starts the running release. One that does not start says nothing about the new one, unless it is the new one.
func (r *run) launch(ctx context.Context, s *sandbox) error {
	old := deploy.Release{Version: r.Running.Version, Source: r.Running.Origin, Units: r.old.units}
	err := s.journal.during("running release", func() error { return s.deployment.Launch(ctx, deploy.Blue, old) })
	if err == nil || r.Self || ctx.Err() != nil {
		return err
	}
	return broken("the running release (%s) does not start, so there is nothing to rehearse from: %w", r.Running.Origin, err)
}

// startLoad starts the traffic, which goes on until the end.
func (r *run) startLoad(ctx context.Context, s *sandbox) (*load, error) {
	r.stages.begin("traffic")
	settings := r.Release.Config.Rehearsal
	l := &load{run: r, phase: settings.Phase, Generator: traffic.New(traffic.Options{
		Target: s.url, Requests: s.requests, Clients: settings.Clients, Rate: settings.Rate,
	})}
	if err := l.start(ctx); err != nil {
		return nil, broken("start the traffic: %w", err)
	}
	return l, nil
}

// deploy runs the deployment as production would. A backup that fails says nothing about the release.
func (r *run) deploy(ctx context.Context, d *deploy.Deployment) error {
	err := d.Run(ctx, deploy.Release{Version: r.Release.Version, Source: r.Release.Origin, Units: r.next.units})
	var step *deploy.StepError
	if errors.As(err, &step) && step.State == deploy.BackingUp {
		return broken("%w", err)
	}
	return err
}

// drill rolls back to the old release under traffic and forward again, and measures the way back.
func (r *run) drill(ctx context.Context, s *sandbox, load *load) error {
	before := load.Snapshot().Failed
	r.out.Rollback = &report.Rollback{}
	seconds, err := r.way(ctx, s, load, "rollback")
	r.out.Rollback.Seconds = seconds
	if err == nil {
		_, err = r.way(ctx, s, load, "forward")
	}
	r.out.Rollback.Failed = load.Snapshot().Failed - before
	r.out.Rollback.Proven = err == nil && r.out.Rollback.Failed == 0
	return err
}

// way moves all traffic to the other slot and lets a phase of it pass. seconds is from the command until no request is
// in flight on the slot that was left.
func (r *run) way(ctx context.Context, s *sandbox, load *load, name string) (seconds float64, err error) {
	err = s.journal.during(name, func() error {
		left := s.deployment.Serving().Slot
		from := r.Now()
		if err := s.deployment.RollBack(ctx); err != nil {
			return fmt.Errorf("%s drill: %w", name, err)
		}
		took := r.Now().Sub(from)
		seconds = took.Seconds()
		r.stages.detail(fmt.Sprintf("no request on %s after %s", left, took.Round(time.Microsecond)))
		return load.watch(ctx, name+" drill")
	})
	return seconds, err
}
