package deploy

import (
	"context"
	"errors"
	"fmt"
)

// Releases knows the environment's earlier releases. What it returns is resolved now: where artifacts are, configuration,
// and secrets, which are never kept with a release, so that a rollback brings back none that was revoked.
type Releases interface {
	// LastGood is the release that a rollback without arguments goes to.
	LastGood(ctx context.Context) (Release, error)
	// Release is a release by its version.
	Release(ctx context.Context, version string) (Release, error)
	// Judged remembers a verdict; the last one on two releases counts.
	Judged(ctx context.Context, verdict Verdict) error
}

// VerdictError refuses a rollback.
type VerdictError struct{ Verdict Verdict }

func (e *VerdictError) Error() string {
	if e.Verdict.Safety == SafeWithLoss {
		return "roll back: " + e.Verdict.String() + "; accept the loss to go on"
	}
	return "roll back: " + e.Verdict.String()
}

// Unwrap is what the database said, where the verdict is UNSAFE: history.ErrBelowFloor, or why it could not be asked.
func (e *VerdictError) Unwrap() error { return e.Verdict.cause }

// RollBack gives all traffic back: to the release that ran before, where it is still warm, or to the last good one, which is
// started beside the one that serves, probed and verified first; Retire ends either. It is refused with a *VerdictError
// before anything is done where the database doesn't allow it, or rows would be lost and AcceptLoss is not set. It returns
// once no request is in flight on the other slot. Rolling back twice is rolling forward.
func (d *Deployment) RollBack(ctx context.Context) error {
	if d.next.Slot != "" && !d.way.replaced {
		return d.turn(ctx)
	}
	if d.way.active && d.way.replaced {
		if err := d.mayGo(ctx, d.way.release.Version, d.way.from.Release.Version); err != nil {
			return err
		}
		ctx, cancel := d.unhurried(ctx)
		defer cancel()
		return d.takeBack(ctx, "somebody asked to roll back", func(context.Context) {})
	}
	if d.Releases == nil {
		return errors.New("roll back: no earlier release is kept warm in the other slot; deploy it again instead")
	}
	good, err := d.Releases.LastGood(ctx)
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	if err := d.mayGo(ctx, d.running.Release.Version, good.Version); err != nil {
		return err
	}
	w := way{slot: d.running.Slot.Other(), release: good, from: d.running, back: true, smoke: true}
	if err := d.plan(ctx, w); err != nil {
		return err
	}
	return d.proceed(ctx, Planned)
}

// turn goes to the other slot, which is warm.
func (d *Deployment) turn(ctx context.Context) error {
	from, to := d.running, d.next
	if err := d.mayGo(ctx, from.Release.Version, to.Release.Version); err != nil {
		return err
	}
	s := step{State: RollingBack, slot: to.Slot, release: to.Release, bound: d.drains() + slack}
	return d.do(ctx, s, func(ctx context.Context) error {
		if err := d.give(ctx, to.Slot); err != nil {
			return err
		}
		d.running, d.next = to, from
		if target, ok := d.Target.(Quieter); ok {
			var errs [2]error
			if hasWorkers(to.Release) {
				errs[0] = target.Wake(ctx, to.Slot)
			}
			if hasWorkers(from.Release) {
				errs[1] = target.Quiet(ctx, from.Slot)
			}
			if err := errors.Join(errs[:]...); err != nil {
				return err
			}
		}
		return d.drain(ctx, from.Slot)
	})
}

// mayGo asks for the verdict anew.
func (d *Deployment) mayGo(ctx context.Context, from, to string) error {
	v := d.Verdict(ctx, from, to)
	d.judged(ctx, v)
	if v.Safety == Unsafe || v.Safety == SafeWithLoss && !d.AcceptLoss {
		return &VerdictError{v}
	}
	return nil
}
