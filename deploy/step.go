package deploy

import (
	"context"
	"fmt"
	"time"
)

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

// step is a transition and how long what follows it may take; no bound where that has one of its own.
type step struct {
	State
	slot    Slot
	release Release
	detail  string
	bound   time.Duration
}

// do enters the state, then acts. What goes wrong is a *StepError.
func (d *Deployment) do(ctx context.Context, s step, act func(context.Context) error) error {
	if err := d.enter(ctx, s.State, s.slot, s.release, s.detail); err != nil {
		return err
	}
	bounded := ctx
	if s.bound > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeoutCause(ctx, s.bound, fmt.Errorf("it took longer than %s", s.bound))
		defer cancel()
	}
	if err := act(bounded); err != nil {
		if bounded.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", context.Cause(bounded), err)
		}
		return &StepError{State: s.State, Slot: s.slot, Err: err}
	}
	return nil
}

// enter writes a transition, and tells of it.
func (d *Deployment) enter(ctx context.Context, state State, slot Slot, release Release, detail string) error {
	entry := Entry{Deployment: d.ID, At: d.now(), State: state, Slot: slot, Release: release.Version, Detail: detail}
	if err := d.Journal.Write(ctx, entry); err != nil {
		return &StepError{State: state, Slot: slot, Err: fmt.Errorf("write journal: %w", err)}
	}
	d.tell(Event{Kind: TransitionEvent, State: state, Slot: slot, Release: release.Version, Detail: detail})
	return nil
}

func (d *Deployment) now() time.Time {
	if d.Now == nil {
		return time.Now()
	}
	return d.Now()
}

func (d *Deployment) pause(ctx context.Context, duration time.Duration) error {
	if d.Pause != nil {
		return d.Pause(ctx, duration)
	}
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
