package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Deployment takes one release from built to serving, beside the one that serves now, and back.
//
// Every transition is written to the journal before it is acted on, and every step may be done again, so that a run that
// dies anywhere is finished or taken back by the next, from what it wrote last. A Deployment is used from one goroutine.
type Deployment struct {
	ID       string
	Target   Target
	Splitter Splitter
	Database Database // nil: the application has none
	Verifier Verifier
	Journal  Journal
	Strategy Strategy // "" is BlueGreen
	// Ramp is what a canary needs; nil otherwise.
	Ramp *Ramp
	// Plan is what was planned and approved: its hash is in the journal, and what is resumed must have the same. Nil: nobody
	// asked for one.
	Plan *Plan
	// Releases knows earlier releases. Nil: only one that is warm can be gone back to, and nothing is resumed.
	Releases Releases
	// Losses counts what only new code understands; nil: nobody can tell.
	Losses Losses
	// AcceptLoss lets RollBack go on where the verdict is SAFE-WITH-LOSS.
	AcceptLoss bool
	// BakeFor is how long the new release is watched, by Target.Alive, with all traffic while the other is still warm.
	BakeFor time.Duration
	// Bake watches the new release under traffic, after BakeFor, and returns why it must not stay, or nil. Nil: no more.
	Bake func(ctx context.Context) error
	// Drain bounds the wait for requests in flight when traffic has left a slot. Zero means DefaultDrain.
	Drain time.Duration
	// Progress is told of every transition, decision and verdict. It must not block; nil: nobody is told.
	Progress func(Event)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Pause waits; nil means by the system's clock.
	Pause func(ctx context.Context, d time.Duration) error

	running Instance // serves now
	next    Instance // started by Run, or the one left by a rollback
	way     way
	resumed bool // what a slot runs and the splitter knows is to be looked up
}

// DefaultDrain is how long requests in flight may take to end after traffic has moved away.
// Kamal's proxy waits as long (drain_timeout).
const DefaultDrain = 30 * time.Second

// Adopt says what serves, as another deployment's Serving told: a new one begins from it.
func (d *Deployment) Adopt(serving Instance) { d.running = serving }

// Serving is the instance that has all traffic.
func (d *Deployment) Serving() Instance { return d.running }

// Launch starts a release in an empty slot and gives it all traffic at once, without its database and its smoke test: the
// beginning of an environment that is made for the occasion.
func (d *Deployment) Launch(ctx context.Context, slot Slot, release Release) error {
	if err := d.plan(ctx, way{slot: slot, release: release}); err != nil {
		return err
	}
	d.way.back = true
	return d.proceed(ctx, Planned)
}

// Run deploys the release into the slot that is free: backup, rehearse the migrations, migrate, start, probe, verify, shift
// by the strategy, bake. On an error after the start, traffic is back on the release that ran before and the new slot is
// stopped; the schema stays, as an expand migration leaves the old code working. A release that nothing served before, or
// that has traffic while the schema excludes the one before, stays: there is nothing to go back to. The error is a
// *StepError, or a LostError, after which nothing more was done.
func (d *Deployment) Run(ctx context.Context, release Release) error {
	if err := d.check(); err != nil {
		return err
	}
	if err := d.agrees(release); err != nil {
		return err
	}
	slot := Blue
	if d.running.Slot != "" {
		slot = d.running.Slot.Other()
	}
	if err := d.plan(ctx, way{slot: slot, release: release, from: d.running, smoke: true}); err != nil {
		return err
	}
	return d.proceed(ctx, Planned)
}

// proceed does what follows a state. After Verifying, next is the instance that was raised.
func (d *Deployment) proceed(ctx context.Context, at State) error {
	if at.before(Replacing) && d.Database != nil && !d.way.back {
		if err := d.migrate(ctx); err != nil {
			return d.fail(ctx, err)
		}
	}
	for _, step := range []struct {
		until State // the step is done again unless this is reached
		do    func(context.Context) error
	}{{Starting, d.replace}, {Ramping, d.raise}, {Quieting, d.ramp}, {Shifting, d.quiet}, {Baking, d.shift}, {Retiring, d.bake}} {
		if !at.before(step.until) {
			continue
		}
		if err := step.do(ctx); err != nil {
			return d.abandon(ctx, err)
		}
	}
	d.running, d.next = d.next, d.way.from
	return nil
}

func (d *Deployment) migrate(ctx context.Context) error {
	release := d.way.release
	err := d.do(ctx, step{State: BackingUp, release: release, bound: databaseBound}, func(ctx context.Context) error {
		_, err := d.Database.Backup(ctx)
		return err
	})
	if err == nil {
		err = d.do(ctx, step{State: Rehearsing, release: release, bound: databaseBound}, d.Database.Rehearse)
	}
	if err == nil {
		err = d.do(ctx, step{State: Migrating, release: release, bound: databaseBound}, func(ctx context.Context) error {
			_, err := d.Database.Migrate(ctx)
			return err
		})
	}
	return err
}

// replace stops the release that ran, where both cannot run at once.
func (d *Deployment) replace(ctx context.Context) error {
	from := d.way.from
	if d.Strategy != Recreate || from.Slot == "" {
		return nil
	}
	d.way.replaced = true
	bound := stops(from.Release)
	return d.do(ctx, step{State: Replacing, slot: from.Slot, release: from.Release, bound: bound, detail: "no service from here on"}, func(ctx context.Context) error {
		return d.Target.Stop(ctx, from.Slot)
	})
}

// raise starts the release and does not return before it may have traffic.
func (d *Deployment) raise(ctx context.Context) error {
	slot, release := d.way.slot, d.way.release
	var instance Instance
	err := d.do(ctx, step{State: Starting, slot: slot, release: release, bound: startBound}, func(ctx context.Context) (err error) {
		instance, err = d.start(ctx, slot, release)
		return err
	})
	if err == nil {
		err = d.do(ctx, step{State: Probing, slot: slot, release: release, bound: starts(release)}, func(ctx context.Context) error {
			return d.Verifier.Ready(ctx, instance, func() error { return d.Target.Alive(ctx, slot) })
		})
	}
	if err == nil && d.way.smoke {
		err = d.do(ctx, step{State: Verifying, slot: slot, release: release, bound: verifyBound}, func(ctx context.Context) error {
			return d.Verifier.Smoke(ctx, instance)
		})
	}
	if err != nil {
		return err
	}
	d.next = instance
	return d.register(ctx, instance)
}

// register makes an instance known to the splitter.
func (d *Deployment) register(ctx context.Context, instance Instance) error {
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	if err := d.Splitter.Register(ctx, instance); err != nil {
		return &StepError{State: Verifying, Slot: instance.Slot, Err: fmt.Errorf("register: %w", err)}
	}
	return nil
}

// alive asks whether a slot's units run.
func (d *Deployment) alive(ctx context.Context, slot Slot) error {
	ctx, cancel := context.WithTimeout(ctx, slack)
	defer cancel()
	return d.Target.Alive(ctx, slot)
}

// start starts a release in a slot. What a slot runs after its command has ended may be what is to be started, or a rest.
func (d *Deployment) start(ctx context.Context, slot Slot, release Release) (Instance, error) {
	target, outlives := d.Target.(Inspector)
	if !outlives {
		return d.Target.Start(ctx, slot, release)
	}
	if d.resumed {
		if found, ok, err := d.find(ctx, target, slot, release); ok || err != nil {
			return found, err
		}
	}
	if err := d.clear(ctx, slot); err != nil {
		return Instance{}, err
	}
	return target.Start(ctx, slot, release)
}

// find looks for a release in a slot.
func (d *Deployment) find(ctx context.Context, target Inspector, slot Slot, release Release) (Instance, bool, error) {
	found, ok, err := target.Running(ctx, slot)
	if err != nil {
		return Instance{}, false, fmt.Errorf("look what runs in %s: %w", slot, err)
	}
	if !ok || found.Release.Version != release.Version {
		return Instance{}, false, nil
	}
	found.Slot, found.Release = slot, release
	return found, true, nil
}

// quiet makes the workers of the release that ran take no new jobs.
func (d *Deployment) quiet(ctx context.Context) error {
	from := d.way.from
	target, can := d.Target.(Quieter)
	if !can || from.Slot == "" || d.way.replaced || !hasWorkers(from.Release) {
		return nil
	}
	return d.do(ctx, step{State: Quieting, slot: from.Slot, release: from.Release, bound: slack}, func(ctx context.Context) error {
		return target.Quiet(ctx, from.Slot)
	})
}

func (d *Deployment) shift(ctx context.Context) error {
	to := d.next
	bound := d.drains() + slack
	return d.do(ctx, step{State: Shifting, slot: to.Slot, release: to.Release, bound: bound}, func(ctx context.Context) error {
		roller, ok := d.Splitter.(Roller)
		if d.Strategy != Rolling || !ok || d.way.from.Slot == "" {
			d.way.moved = d.way.moved || d.way.replaced // an error may come after the change
			if err := d.give(ctx, to.Slot); err != nil {
				return err
			}
			d.way.moved = true
			return d.drain(ctx, d.way.from.Slot)
		}
		d.way.moved = true // some hosts may be
		check := func(ctx context.Context) error { return d.alive(ctx, to.Slot) }
		if err := roller.Roll(ctx, to.Slot, check); err != nil {
			return fmt.Errorf("shift traffic to %s host by host: %w", to.Slot, err)
		}
		return d.drain(ctx, d.way.from.Slot)
	})
}

func (d *Deployment) drains() time.Duration {
	if d.Drain == 0 {
		return DefaultDrain
	}
	return d.Drain
}

// give gives all new requests to a slot.
func (d *Deployment) give(ctx context.Context, to Slot) error {
	if err := d.Splitter.Shift(ctx, map[Slot]int{to: 100}); err != nil {
		return fmt.Errorf("shift traffic to %s: %w", to, err)
	}
	return nil
}

// drain waits for the requests in flight on a slot that gets no new ones.
func (d *Deployment) drain(ctx context.Context, from Slot) error {
	if from == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.drains())
	defer cancel()
	if left, err := d.Splitter.Drain(ctx, from); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("drain %s: %w", from, err)
	} else if left > 0 {
		return fmt.Errorf("drain %s: %d requests still in flight after %s; they would be cut off", from, left, d.drains())
	}
	return nil
}

// lookEvery is how often a release is looked at while it bakes.
const lookEvery = time.Second

func (d *Deployment) bake(ctx context.Context) error {
	d.judge(ctx, d.way)
	if d.Bake == nil && d.BakeFor == 0 {
		return nil
	}
	to := d.next
	s := step{State: Baking, slot: to.Slot, release: to.Release} // Bake has bounds of its own
	return d.do(ctx, s, func(ctx context.Context) error {
		for end := d.now().Add(d.BakeFor); d.now().Before(end); {
			if err := d.alive(ctx, to.Slot); err != nil {
				return err
			}
			if err := d.pause(ctx, min(lookEvery, end.Sub(d.now()))); err != nil {
				return err
			}
		}
		if d.Bake == nil {
			return nil
		}
		return d.Bake(ctx)
	})
}

// Retire stops the slot that has no traffic. The deployment is done, or rolled back where its release has none.
func (d *Deployment) Retire(ctx context.Context) error {
	if !d.way.active {
		return nil
	}
	if old := d.next; old.Slot != "" {
		s := step{State: Retiring, slot: old.Slot, release: old.Release, bound: stops(old.Release)}
		if err := d.do(ctx, s, func(ctx context.Context) error { return d.clear(ctx, old.Slot) }); err != nil {
			return err
		}
	}
	d.next = Instance{}
	end := Done
	if d.running.Slot != d.way.slot {
		end = RolledBack
	}
	if err := d.enter(ctx, end, d.running.Slot, d.running.Release, ""); err != nil {
		return err
	}
	d.way = way{}
	return nil
}

// clear empties a slot that has no traffic. One that the splitter doesn't let go is not stopped.
func (d *Deployment) clear(ctx context.Context, slot Slot) error {
	if err := d.Splitter.Remove(ctx, slot); err != nil {
		return err
	}
	return d.Target.Stop(ctx, slot)
}
