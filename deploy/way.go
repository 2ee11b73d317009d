package deploy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// way is the deployment under way.
type way struct {
	slot     Slot // that the release is deployed into
	release  Release
	from     Instance // served before; no slot where nothing did
	back     bool     // to a release that has served before: without the database and all at once
	active   bool
	replaced bool // recreate: from is stopped, or about to be
	moved    bool // the release has, or may have, traffic
	smoke    bool
}

// check says what is not there that the strategy needs.
func (d *Deployment) check() error {
	if d.Strategy == Canary {
		if d.Ramp == nil {
			return errors.New("a canary deployment needs a ramp")
		}
		return d.Ramp.check()
	}
	if _, ok := d.Splitter.(Roller); d.Strategy == Rolling && !ok {
		return errors.New("a rolling deployment needs several hosts: use blue-green on one")
	}
	return nil
}

// agrees says whether what would be done is what was planned, and maybe approved.
func (d *Deployment) agrees(release Release) error {
	p := d.Plan
	switch {
	case p == nil:
		return nil
	case p.To.Version != release.Version || p.From.Version != d.running.Release.Version || p.Strategy != d.strategy():
		return fmt.Errorf("the plan is for %s from %q by %s, not for %s from %q by %s: plan again",
			p.To.Version, p.From.Version, p.Strategy, release.Version, d.running.Release.Version, d.strategy())
	case !slices.Equal(p.Steps, d.Steps(release)):
		return errors.New("the plan has other steps than what would be done now: plan again")
	case d.Strategy == Canary && (p.Canary == nil || !reflect.DeepEqual(*p.Canary, d.Ramp.Plan)):
		return errors.New("the plan has another ramp than what would be done now: plan again")
	}
	return nil
}

// plan begins a way.
func (d *Deployment) plan(ctx context.Context, w way) error {
	w.active = true
	d.way, d.next = w, Instance{}
	p := planned{From: w.from.Release.Version, FromSlot: w.from.Slot, Back: w.back, Strategy: d.strategy()}
	if d.Plan != nil {
		p.Plan, p.Override = d.Plan.Hash(), d.Plan.Override
	}
	err := d.enter(ctx, Planned, w.slot, w.release, p.String())
	if err != nil {
		d.way = way{}
	}
	return err
}

func (d *Deployment) strategy() Strategy {
	if d.Strategy == "" {
		return BlueGreen
	}
	return d.Strategy
}
