package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// abandon puts traffic back where it was, empties the slot and returns cause. It works on when ctx has ended: a cancelled
// run must not leave a half-done one behind. Where the lock is lost it does nothing.
func (d *Deployment) abandon(ctx context.Context, cause error) error {
	if lost(ctx, cause) {
		return cause
	}
	ctx, cancel := d.unhurried(ctx)
	defer cancel()
	var step *StepError
	slot, keep := d.way.slot, func(context.Context) {}
	if errors.As(cause, &step) {
		keep = func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, logsBound)
			defer cancel()
			step.Logs, _ = d.Target.Logs(ctx, slot)
		}
	}
	if err := d.takeBack(ctx, cause.Error(), keep); err != nil {
		return fmt.Errorf("%w; and putting things back failed, which the next command tries again: %w", cause, err)
	}
	return cause
}

// logsBound is how long the end of the logs of a slot that is given up is waited for.
const logsBound = 10 * time.Second

// unhurried outlives ctx for as long as it may take to put things back.
func (d *Deployment) unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	bound := d.drains() + stops(d.way.release) + stops(d.way.from.Release) + starts(d.way.from.Release) + 2*verdictBound + logsBound + slack
	if d.way.replaced {
		bound += startBound
	}
	return context.WithTimeout(context.WithoutCancel(ctx), bound)
}

// takeBack ends the deployment with what served before, as far as that can serve. keep is called while the new slot still
// runs, but not before the users have left it.
func (d *Deployment) takeBack(ctx context.Context, reason string, keep func(context.Context)) error {
	w := d.way
	if w.from.Slot == "" {
		keep(ctx)
		return d.withdraw(ctx, reason)
	}
	if w.moved {
		if v := d.quickVerdict(ctx); v.excluded() {
			if d.next.Slot == "" {
				return fmt.Errorf("%s in %s is gone, and %s: start it again there", w.release.Version, w.slot, v)
			}
			keep(ctx)
			return d.stay(ctx, reason+"; "+v.String(), !w.replaced)
		}
	}
	to := w.from
	if w.replaced {
		holds, err := d.holds(ctx, w.slot)
		if err != nil {
			return err
		}
		if !holds { // its own slot has the traffic that nobody answers: nothing else can be registered there
			to = Instance{Slot: w.slot, Release: w.from.Release}
		}
	}
	written := d.enter(ctx, RollingBack, to.Slot, to.Release, reason)
	if written != nil {
		if lost(ctx, written) {
			return written
		}
		// What serves is more than what is written. The journal still says what was done before, and whoever reads it
		// finds the slot empty.
	}
	err := errors.Join(written, d.giveBack(ctx, to, reason, keep))
	if w.moved && !lost(ctx, err) {
		d.judge(ctx, w) // what was lost is counted when nobody waits any more
	}
	return err
}

// holds says whether the new release got the traffic of a recreation, which the journal doesn't always know: if it can be
// given the traffic again, it has it now; if the splitter forgets it, it had none.
func (d *Deployment) holds(ctx context.Context, slot Slot) (bool, error) {
	if !d.way.moved {
		return false, nil
	}
	err := d.give(ctx, slot)
	if err == nil {
		return true, nil
	}
	if forgotten := d.Splitter.Remove(ctx, slot); forgotten != nil {
		return false, errors.Join(err, forgotten)
	}
	return false, nil
}

// giveBack gives all traffic to what served before, and empties the other slot. It is done again from the beginning after a
// kill.
func (d *Deployment) giveBack(ctx context.Context, to Instance, reason string, keep func(context.Context)) error {
	other := to.Slot.Other()
	if d.way.replaced { // nobody is served until it is stopped
		keep(ctx)
	}
	to, err := d.bring(ctx, to)
	if err != nil {
		return err
	}
	if err := d.give(ctx, to.Slot); err != nil {
		return err // the other slot has traffic: it stays
	}
	if !d.way.replaced {
		keep(ctx)
	}
	var problems []error
	if target, ok := d.Target.(Quieter); ok && hasWorkers(to.Release) {
		problems = append(problems, target.Wake(ctx, to.Slot))
	}
	problems = append(problems, d.drain(ctx, other)) // what is still in flight then is cut off
	if err := d.clear(ctx, other); err != nil {
		return errors.Join(append(problems, err)...)
	}
	d.running, d.next = to, Instance{}
	end := RolledBack
	if to.Slot == d.way.slot && !d.way.replaced { // a way forward again
		end = Done
	}
	d.way = way{}
	return errors.Join(append(problems, d.enter(ctx, end, to.Slot, to.Release, reason))...)
}

// bring sees to it that what is to have the traffic back runs and is known to the splitter. In a run that has not been
// interrupted it has never stopped.
func (d *Deployment) bring(ctx context.Context, to Instance) (Instance, error) {
	target, outlives := d.Target.(Inspector)
	if !d.way.replaced && (!d.resumed || !outlives) {
		return to, nil
	}
	if d.way.replaced { // only one may run, and the volume is the other's until it ends
		if err := d.Target.Stop(ctx, to.Slot.Other()); err != nil {
			return to, err
		}
	}
	var found bool
	if outlives {
		var err error
		var running Instance
		if running, found, err = d.find(ctx, target, to.Slot, to.Release); err != nil {
			return to, err
		} else if found {
			to = running
		}
	}
	if !found {
		if err := d.clear(ctx, to.Slot); err != nil {
			return to, err
		}
		started, err := d.Target.Start(ctx, to.Slot, to.Release)
		if err != nil {
			return to, fmt.Errorf("start %s again: %w", to.Release.Version, err)
		}
		to = started
	}
	// What is found may have been started a moment ago, by a command that died.
	if err := d.Verifier.Ready(ctx, to, func() error { return d.Target.Alive(ctx, to.Slot) }); err != nil {
		return to, fmt.Errorf("see whether %s serves: %w", to.Release.Version, err)
	}
	return to, d.register(ctx, to)
}

// withdraw ends a first deployment that failed: its slot is emptied unless it has the traffic, which nothing else can get.
func (d *Deployment) withdraw(ctx context.Context, reason string) error {
	if err := d.Splitter.Remove(ctx, d.way.slot); err != nil {
		if !d.way.moved {
			return err
		}
		return d.stay(ctx, reason+"; it stays, as nothing served before it", false)
	}
	if err := d.Target.Stop(ctx, d.way.slot); err != nil {
		return err
	}
	d.way, d.next = way{}, Instance{}
	return d.enter(ctx, Failed, "", Release{}, reason)
}

// stay ends a deployment that failed with its release still serving.
func (d *Deployment) stay(ctx context.Context, reason string, clear bool) error {
	w, serving := d.way, d.next
	if serving.Slot == "" {
		serving = Instance{Slot: w.slot, Release: w.release}
	} else if err := d.register(ctx, serving); err != nil { // some hosts may have forgotten it
		return err
	}
	if err := d.give(ctx, w.slot); err != nil {
		return err
	}
	if clear {
		err := d.drain(ctx, w.from.Slot)
		if cleared := d.clear(ctx, w.from.Slot); cleared != nil {
			return errors.Join(err, cleared)
		}
	}
	d.running, d.next, d.way = serving, Instance{}, way{}
	return d.enter(ctx, Failed, w.slot, w.release, reason)
}

// fail ends a deployment that has changed nothing that serves.
func (d *Deployment) fail(ctx context.Context, cause error) error {
	if lost(ctx, cause) {
		return cause
	}
	from := d.way.from
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := d.enter(ctx, Failed, from.Slot, from.Release, cause.Error()); err != nil {
		return fmt.Errorf("%w; %w", cause, err)
	}
	d.way = way{}
	return cause
}
