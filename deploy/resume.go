package deploy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// planned is what the detail of Planned says: where a deployment began.
type planned struct {
	From     string
	FromSlot Slot
	Back     bool
	Strategy Strategy
	Plan     string // hash; "" where none was made
	Override *Override
}

// String is the detail: for people, and to be read again.
func (p planned) String() string {
	text := "first"
	switch {
	case p.FromSlot != "" && p.Back:
		text = fmt.Sprintf("back from %q in %s", p.From, p.FromSlot)
	case p.FromSlot != "":
		text = fmt.Sprintf("from %q in %s", p.From, p.FromSlot)
	}
	text += ", " + string(p.Strategy)
	if p.Plan != "" {
		text += ", plan " + p.Plan
	}
	if p.Override != nil {
		text += fmt.Sprintf(", freeze overridden by %q: %q", p.Override.By, p.Override.Reason)
	}
	return text
}

var plannedForm = regexp.MustCompile(`^(?:first|(back )?from ("(?:[^"\\]|\\.)*") in (blue|green)), (blue-green|canary|rolling|recreate)(?:, plan ([0-9a-f]+))?(?:, freeze overridden by ("(?:[^"\\]|\\.)*"): ("(?:[^"\\]|\\.)*"))?$`)

func parsePlanned(detail string) (p planned, err error) {
	m := plannedForm.FindStringSubmatch(detail)
	if m == nil {
		return p, fmt.Errorf("%q doesn't say from where it began", detail)
	}
	if m[2] != "" {
		if p.From, err = strconv.Unquote(m[2]); err != nil {
			return p, fmt.Errorf("%q doesn't say from which release it began", detail)
		}
	}
	if m[6] != "" {
		by, wrong := strconv.Unquote(m[6])
		reason, err := strconv.Unquote(m[7])
		if err = errors.Join(wrong, err); err != nil {
			return p, fmt.Errorf("%q doesn't say why a freeze was overridden", detail)
		}
		p.Override = &Override{By: by, Reason: reason}
	}
	p.Back, p.FromSlot, p.Strategy, p.Plan = m[1] != "", Slot(m[3]), Strategy(m[4]), m[5]
	return p, nil
}

// Standing is where a deployment is, by its journal.
type Standing struct {
	Deployment string   `json:"deployment"`
	State      State    `json:"state"`
	Slot       Slot     `json:"slot,omitempty"` // that State is about: after an end, what serves, if anything
	Release    string   `json:"release,omitempty"`
	Detail     string   `json:"detail,omitempty"`
	Into       Slot     `json:"into"` // the slot that the release is deployed into
	New        string   `json:"new"`  // the release
	From       string   `json:"from,omitempty"`
	FromSlot   Slot     `json:"from_slot,omitempty"` // "" where nothing served before
	Back       bool     `json:"back,omitempty"`      // a rollback as a deployment of its own
	Strategy   Strategy `json:"strategy"`
	Plan       string   `json:"plan,omitempty"`
}

// Read tells from a journal where its last deployment is. A journal without one is an error.
func Read(entries []Entry) (Standing, error) {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].State != Planned {
			continue
		}
		begin, last := entries[i], entries[len(entries)-1]
		p, err := parsePlanned(begin.Detail)
		if err != nil {
			return Standing{}, fmt.Errorf("read journal of %s: %w", begin.Deployment, err)
		}
		for _, e := range entries[i:] {
			if e.Deployment != begin.Deployment {
				return Standing{}, fmt.Errorf("read journal of %s: it has an entry of %s: give it one deployment's", begin.Deployment, e.Deployment)
			}
		}
		return Standing{
			Deployment: begin.Deployment, State: last.State, Slot: last.Slot, Release: last.Release, Detail: last.Detail, Into: begin.Slot, New: begin.Release,
			From: p.From, FromSlot: p.FromSlot, Back: p.Back, Strategy: p.Strategy, Plan: p.Plan,
		}, nil
	}
	return Standing{}, errors.New("read journal: no deployment begins in it")
}

// Resume ends a deployment whose process died, from its journal and from what its target runs: forward, where its release
// can still serve, back where it had begun to go back, or the release is gone. With a deployment that has ended it only
// finds what serves. The Deployment is made as the dead one was. Serving is right afterwards, also after an error.
func (d *Deployment) Resume(ctx context.Context, entries []Entry) error {
	s, err := d.restore(ctx, entries)
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if s.State.Ended() {
		return nil
	}
	switch {
	case s.State == RollingBack:
		return d.goOnBack(ctx, s)
	case s.State == Retiring:
		return d.goOnRetiring(ctx, s)
	case Verifying.before(s.State) && d.next.Slot == "":
		return d.abandon(ctx, fmt.Errorf("%s in %s is gone", s.New, s.Into))
	case Verifying.before(s.State):
		if err := d.register(ctx, d.next); err != nil {
			return d.abandon(ctx, err)
		}
	}
	if err := d.proceed(ctx, s.State); err != nil {
		return err
	}
	return d.Retire(ctx)
}

// TakeBack ends a deployment whose process died, or is to be aborted, with what served before. One that has ended can't be
// taken back any more, nor one whose predecessor was retired: roll back instead.
func (d *Deployment) TakeBack(ctx context.Context, entries []Entry, why string) error {
	s, err := d.restore(ctx, entries)
	if err != nil {
		return fmt.Errorf("take back: %w", err)
	}
	switch {
	case s.State.Ended():
		return fmt.Errorf("take back: the deployment has ended (%s); roll back instead", s.State)
	case s.State == RollingBack:
		return d.goOnBack(ctx, s)
	case s.State == Retiring && s.Slot == s.Into:
		return d.goOnRetiring(ctx, s)
	case s.State.before(Replacing):
		if err := d.enter(ctx, Failed, s.FromSlot, d.way.from.Release, why); err != nil {
			return err
		}
		d.way = way{}
		return nil
	case s.State == Retiring:
		found, cancel := context.WithTimeout(ctx, slack)
		defer cancel()
		_, warm, err := d.find(found, d.Target.(Inspector), s.FromSlot, d.way.from.Release)
		if err != nil {
			return fmt.Errorf("take back: %w", err)
		}
		if !warm {
			return fmt.Errorf("take back: %s is retired: resume the deployment, then roll back", s.From)
		}
	}
	ctx, cancel := d.unhurried(ctx)
	defer cancel()
	return d.takeBack(ctx, why, func(context.Context) {})
}

// goOnBack goes on with a way back that was begun.
func (d *Deployment) goOnBack(ctx context.Context, s Standing) error {
	to := d.way.from
	if s.Release == s.New && s.Slot == s.Into {
		to.Release = d.way.release
	}
	to.Slot = s.Slot
	ctx, cancel := d.unhurried(ctx)
	defer cancel()
	return d.giveBack(ctx, to, s.Detail, func(context.Context) {})
}

// goOnRetiring retires again, whichever of both releases it was that had no traffic.
func (d *Deployment) goOnRetiring(ctx context.Context, s Standing) error {
	d.running, d.next = d.next, d.way.from
	if s.Slot == s.Into {
		d.running, d.next = d.way.from, Instance{Slot: s.Into, Release: d.way.release}
	}
	if d.running.Slot == "" {
		return fmt.Errorf("resume: %s in %s, which serves, doesn't run any more: start it again", s.New, s.Into)
	}
	return d.Retire(ctx)
}

// restore brings the Deployment to where the journal is.
func (d *Deployment) restore(ctx context.Context, entries []Entry) (Standing, error) {
	target, ok := d.Target.(Inspector)
	if !ok || d.Releases == nil {
		return Standing{}, errors.New("its target doesn't outlive a command, or nothing knows its releases: nothing can be resumed")
	}
	s, err := Read(entries)
	if err != nil {
		return s, err
	}
	if err := d.matches(s); err != nil {
		return s, err
	}
	d.ID, d.resumed = s.Deployment, true
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if s.State.Ended() {
		d.running, err = d.look(ctx, target, s.Slot, s.Release)
		return s, err
	}
	release, err := d.Releases.Release(ctx, s.New)
	if err != nil {
		return s, err
	}
	from, err := d.look(ctx, target, s.FromSlot, s.From)
	if err != nil {
		return s, err
	}
	d.way = way{
		slot: s.Into, release: release, from: from, back: s.Back, active: true, smoke: true,
		replaced: s.Strategy == Recreate && s.FromSlot != "" && (s.State == RollingBack || !s.State.before(Replacing)), moved: Verifying.before(s.State),
	}
	d.running, d.next = from, Instance{}
	if found, ok, err := d.find(ctx, target, s.Into, release); err != nil {
		return s, err
	} else if ok && (Verifying.before(s.State) || s.State == RollingBack) {
		d.next = found
	}
	return s, nil
}

// look is a release in a slot, with its endpoints where it runs.
func (d *Deployment) look(ctx context.Context, target Inspector, slot Slot, version string) (Instance, error) {
	if slot == "" {
		return Instance{}, nil
	}
	release, err := d.Releases.Release(ctx, version)
	if err != nil {
		return Instance{}, err
	}
	found, ok, err := d.find(ctx, target, slot, release)
	if err != nil || ok {
		return found, err
	}
	return Instance{Slot: slot, Release: release}, nil
}

// matches refuses to go on with another deployment than the one that was begun.
func (d *Deployment) matches(s Standing) error {
	if d.ID != "" && d.ID != s.Deployment {
		return fmt.Errorf("the journal is of %s, not of %s", s.Deployment, d.ID)
	}
	if s.State.Ended() {
		return nil
	}
	if d.strategy() != s.Strategy {
		return fmt.Errorf("%s began as %s, not as %s", s.Deployment, s.Strategy, d.strategy())
	}
	if d.Plan != nil && s.Plan != "" && d.Plan.Hash() != s.Plan {
		return fmt.Errorf("%s began with another plan (%.12s): what was approved is not what would be done; take it back", s.Deployment, s.Plan)
	}
	return d.check()
}
