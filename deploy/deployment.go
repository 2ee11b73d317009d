package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Deployment takes one release from built to serving, beside the one that serves now, and back.
//
// Every transition is written to the journal before it is acted on, so that a run that dies can be understood from what
// it wrote last. A Deployment is used from one goroutine.
type Deployment struct {
	ID       string
	Target   Target
	Splitter Splitter
	Database Database // nil: the application has none
	Verifier Verifier
	Journal  Journal
	// Bake watches the new release under traffic and returns why it must not stay, or nil. Nil: no bake.
	Bake func(ctx context.Context) error
	// Drain bounds the wait for requests in flight when traffic has left a slot. Zero means DefaultDrain.
	Drain time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	running Instance // serves now
	next    Instance // started by Run, or the one left by a rollback
}

// DefaultDrain is how long requests in flight may take to end after traffic has moved away.
// Kamal's proxy waits as long (drain_timeout).
const DefaultDrain = 30 * time.Second

// StepError says in which state a deployment failed.
type StepError struct {
	State State
	Slot  Slot
	Err   error
	// Logs is the end of each unit's output, by component, where the slot was running.
	Logs map[string]string
}

func (e *StepError) Error() string {
	if e.Slot == "" {
		return fmt.Sprintf("%s: %v", e.State, e.Err)
	}
	return fmt.Sprintf("%s (slot %s): %v", e.State, e.Slot, e.Err)
}

func (e *StepError) Unwrap() error { return e.Err }

// Launch starts a release in an empty slot and gives it all traffic at once: the first deployment of an environment.
func (d *Deployment) Launch(ctx context.Context, slot Slot, release Release) error {
	instance, err := d.raise(ctx, slot, release, false)
	if err != nil {
		return d.abandon(ctx, slot, release, err)
	}
	if err := d.shift(ctx, instance); err != nil {
		return d.abandon(ctx, slot, release, err)
	}
	d.running = instance
	return nil
}

// Run deploys the release into the slot that is free: backup, rehearse the migrations, migrate, start, probe, verify, shift, bake. On an error
// after the start, traffic is back on the release that ran before and the new slot is stopped; the schema stays, as an
// expand migration leaves the old code working. The error is a *StepError.
func (d *Deployment) Run(ctx context.Context, release Release) error {
	slot := d.running.Slot.Other()
	if err := d.enter(ctx, Planned, slot, release, "from "+d.running.Release.Version); err != nil {
		return err
	}
	if d.Database != nil {
		if err := d.migrate(ctx, slot, release); err != nil {
			return err
		}
	}
	instance, err := d.raise(ctx, slot, release, true)
	if err != nil {
		return d.abandon(ctx, slot, release, err)
	}
	d.next = instance
	if err := d.shift(ctx, instance); err != nil {
		return d.abandon(ctx, slot, release, err)
	}
	if d.Bake != nil {
		if err := d.do(ctx, Baking, slot, release, func() error { return d.Bake(ctx) }); err != nil {
			return d.abandon(ctx, slot, release, err)
		}
	}
	d.running, d.next = instance, d.running
	return nil
}

// RollBack gives all traffic back to the release that ran before, which is still warm, unless it is below the schema's
// floor. It returns once no request is in flight on the other slot. Rolling back twice is rolling forward.
func (d *Deployment) RollBack(ctx context.Context) error {
	if d.next.Slot == "" {
		return errors.New("roll back: no earlier release is kept warm in the other slot; deploy it again instead")
	}
	from, to := d.running, d.next
	if d.Database != nil {
		if err := d.Database.Allows(ctx, to.Release.Version); err != nil {
			return fmt.Errorf("roll back: %w", err)
		}
	}
	err := d.do(ctx, RollingBack, to.Slot, to.Release, func() error { return d.move(ctx, to, from) })
	if err != nil {
		return err
	}
	d.running, d.next = to, from
	return nil
}

// Retire stops the slot that has no traffic. The deployment is done.
func (d *Deployment) Retire(ctx context.Context) error {
	old := d.next
	if old.Slot == "" {
		return nil
	}
	err := d.do(ctx, Retiring, old.Slot, old.Release, func() error { return d.clear(ctx, old.Slot) })
	if err != nil {
		return err
	}
	d.next = Instance{}
	return d.enter(ctx, Done, d.running.Slot, d.running.Release, "")
}

// Serving is the instance that has all traffic.
func (d *Deployment) Serving() Instance { return d.running }

func (d *Deployment) migrate(ctx context.Context, slot Slot, release Release) error {
	err := d.do(ctx, BackingUp, "", release, func() error {
		_, err := d.Database.Backup(ctx)
		return err
	})
	if err == nil {
		err = d.do(ctx, Rehearsing, "", release, func() error { return d.Database.Rehearse(ctx) })
	}
	if err == nil {
		err = d.do(ctx, Migrating, "", release, func() error {
			_, err := d.Database.Migrate(ctx)
			return err
		})
	}
	if err != nil {
		return d.fail(ctx, slot, release, err)
	}
	return nil
}

// raise starts a release and does not return before it may have traffic.
func (d *Deployment) raise(ctx context.Context, slot Slot, release Release, smoke bool) (Instance, error) {
	var instance Instance
	err := d.do(ctx, Starting, slot, release, func() (err error) {
		instance, err = d.Target.Start(ctx, slot, release)
		return err
	})
	if err != nil {
		return instance, err
	}
	err = d.do(ctx, Probing, slot, release, func() error {
		return d.Verifier.Ready(ctx, instance, func() error { return d.Target.Alive(ctx, slot) })
	})
	if err != nil {
		return instance, err
	}
	if smoke {
		err = d.do(ctx, Verifying, slot, release, func() error { return d.Verifier.Smoke(ctx, instance) })
		if err != nil {
			return instance, err
		}
	}
	return instance, d.Splitter.Register(ctx, instance)
}

func (d *Deployment) shift(ctx context.Context, to Instance) error {
	return d.do(ctx, Shifting, to.Slot, to.Release, func() error { return d.move(ctx, to, d.running) })
}

// move gives to all new requests and waits for those in flight on from.
func (d *Deployment) move(ctx context.Context, to, from Instance) error {
	if err := d.Splitter.Shift(ctx, map[Slot]int{to.Slot: 100}); err != nil {
		return fmt.Errorf("shift traffic to %s: %w", to.Slot, err)
	}
	if from.Slot == "" {
		return nil
	}
	bound := d.Drain
	if bound == 0 {
		bound = DefaultDrain
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if left, err := d.Splitter.Drain(ctx, from.Slot); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("drain %s: %w", from.Slot, err)
	} else if left > 0 {
		return fmt.Errorf("drain %s: %d requests still in flight after %s; they would be cut off", from.Slot, left, bound)
	}
	return nil
}

// abandon puts traffic back where it was, stops the slot and returns cause. It works on when ctx has ended: a cancelled
// run must not leave a half-done one behind.
func (d *Deployment) abandon(ctx context.Context, slot Slot, release Release, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultDrain+10*time.Second)
	defer cancel()
	var problems []error
	var step *StepError
	if errors.As(cause, &step) {
		step.Logs, _ = d.Target.Logs(ctx, slot) // the slot will be gone in a moment
	}
	if d.running.Slot != "" {
		err := d.enter(ctx, RollingBack, slot, release, cause.Error())
		if moved := d.move(ctx, d.running, Instance{Slot: slot}); moved != nil {
			err = errors.Join(err, moved)
		}
		problems = append(problems, err)
	}
	problems = append(problems, d.clear(ctx, slot))
	d.next = Instance{}
	end := Failed
	if d.running.Slot != "" {
		end = RolledBack
	}
	problems = append(problems, d.enter(ctx, end, slot, release, cause.Error()))
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w; and putting things back failed: %w", cause, err)
	}
	return cause
}

// fail ends a deployment that has changed nothing that serves.
func (d *Deployment) fail(ctx context.Context, slot Slot, release Release, cause error) error {
	if err := d.enter(context.WithoutCancel(ctx), Failed, slot, release, cause.Error()); err != nil {
		return fmt.Errorf("%w; %w", cause, err)
	}
	return cause
}

func (d *Deployment) clear(ctx context.Context, slot Slot) error {
	return errors.Join(d.Splitter.Remove(ctx, slot), d.Target.Stop(ctx, slot))
}

// do enters the state, then acts. What goes wrong is a *StepError.
func (d *Deployment) do(ctx context.Context, state State, slot Slot, release Release, act func() error) error {
	if err := d.enter(ctx, state, slot, release, ""); err != nil {
		return err
	}
	if err := act(); err != nil {
		return &StepError{State: state, Slot: slot, Err: err}
	}
	return nil
}

func (d *Deployment) enter(ctx context.Context, state State, slot Slot, release Release, detail string) error {
	now := time.Now
	if d.Now != nil {
		now = d.Now
	}
	entry := Entry{Deployment: d.ID, At: now(), State: state, Slot: slot, Release: release.Version, Detail: detail}
	if err := d.Journal.Write(ctx, entry); err != nil {
		return &StepError{State: state, Slot: slot, Err: fmt.Errorf("write journal: %w", err)}
	}
	return nil
}
