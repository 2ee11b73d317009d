package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// live runs a command until it ends, or dies.
func (s *site) live(dieAt int, command func() error) (died bool, err error) {
	s.points, s.dieAt = 0, dieAt
	defer func() {
		s.dieAt = 0
		if r := recover(); r != nil {
			if _, is := r.(killed); !is {
				panic(r)
			}
			died = true
		}
	}()
	return false, command()
}

// opened is a site where v1 serves from blue.
func opened(t *testing.T, strategy Strategy) *site {
	t.Helper()
	s := newSite(strategy)
	require.NoError(t, s.command("d0").Launch(t.Context(), Blue, s.release("v1")))
	s.entries = append(s.entries, Entry{Deployment: "d0", State: Done, Slot: Blue, Release: "v1"})
	s.did, s.open = nil, true
	return s
}

// now is the deployment that goes on where the last ended.
func (s *site) now(ctx context.Context, t *testing.T, id string) *Deployment {
	t.Helper()
	d := s.command("")
	require.NoError(t, d.Resume(ctx, s.of("d0")))
	next := s.command(id)
	next.Adopt(d.Serving())
	return next
}

// of are the entries of a deployment.
func (s *site) of(id string) (list []Entry) {
	for _, e := range s.entries {
		if e.Deployment == id {
			list = append(list, e)
		}
	}
	return list
}

func whole(ctx context.Context, s *site, t *testing.T) error {
	d := s.now(ctx, t, "d1")
	if err := d.Run(ctx, s.release("v2")); err != nil {
		return err
	}
	return d.Retire(ctx)
}

// stories are what commands do, at every point of which the matrix kills them.
var stories = []struct {
	name       string
	strategies []Strategy
	first      bool // nothing serves before
	prepare    func(*site)
	do         func(context.Context, *site, *testing.T) error
	ends       []State // that a recovery may come to
	good       string  // the only release that may serve at the end; "" for either
}{
	{name: "up", strategies: []Strategy{BlueGreen, Canary, Rolling, Recreate}, do: whole, ends: []State{Done}, good: "v2"},
	{name: "a failing smoke test", strategies: []Strategy{BlueGreen, Canary, Rolling, Recreate}, do: whole, prepare: func(s *site) {
		s.fails["smoke v2"] = errTold
	}, ends: []State{RolledBack}, good: "v1"},
	{name: "a failing bake", strategies: []Strategy{BlueGreen, Canary, Rolling, Recreate}, do: whole, prepare: func(s *site) {
		s.fails["bake"] = errTold
	}, ends: []State{RolledBack}, good: "v1"},
	{name: "a canary that fails", strategies: []Strategy{Canary}, do: whole, prepare: func(s *site) { s.broken = "v2" }, ends: []State{RolledBack}, good: "v1"},
	{name: "back to the warm release", strategies: []Strategy{BlueGreen, Canary, Rolling}, do: func(ctx context.Context, s *site, t *testing.T) error {
		d := s.now(ctx, t, "d1")
		if err := d.Run(ctx, s.release("v2")); err != nil {
			return err
		}
		if err := d.RollBack(ctx); err != nil {
			return err
		}
		return d.Retire(ctx)
	}, ends: []State{Done, RolledBack}},
	{name: "back to a release that is gone", strategies: []Strategy{BlueGreen, Canary, Rolling, Recreate}, do: func(ctx context.Context, s *site, t *testing.T) error {
		// v2 was deployed and retired; d0's end says so.
		d := s.now(ctx, t, "d1")
		if err := d.RollBack(ctx); err != nil {
			return err
		}
		return d.Retire(ctx)
	}, prepare: func(s *site) {
		for _, h := range s.hosts {
			h.slots[Blue].version, h.routes[Blue].version = "v2", "v2"
		}
		s.entries[len(s.entries)-1].Release = "v2"
	}, ends: []State{Done}, good: "v1"},
	{name: "the first", strategies: []Strategy{BlueGreen, Canary, Rolling, Recreate}, first: true, do: func(ctx context.Context, s *site, t *testing.T) error {
		d := s.command("d1")
		if err := d.Run(ctx, s.release("v2")); err != nil {
			return err
		}
		return d.Retire(ctx)
	}, ends: []State{Done}, good: "v2"},
	{name: "the first, with a failing smoke test", strategies: []Strategy{BlueGreen, Rolling}, first: true, prepare: func(s *site) {
		s.fails["smoke v2"] = errTold
	}, do: func(ctx context.Context, s *site, t *testing.T) error {
		return s.command("d1").Run(ctx, s.release("v2"))
	}, ends: []State{Failed}, good: "-"},
}

// A deployment is killed before and after everything that it writes, asks or does; the command that goes on is killed at
// each of its points too; the third ends it. At no moment may a request fail, and at the end all is known and nothing left.
func TestADeploymentKilledAnywhereIsEndedByTheNextCommand(t *testing.T) {
	total, lives := 0, 0
	for _, story := range stories {
		for _, strategy := range story.strategies {
			for _, takeBack := range []bool{false, true} {
				name := fmt.Sprintf("%s, %s, resumed", story.name, strategy)
				if takeBack {
					name = fmt.Sprintf("%s, %s, taken back", story.name, strategy)
				}
				t.Run(name, func(t *testing.T) {
					begin := func() *site {
						s := newSite(strategy)
						if !story.first {
							s = opened(t, strategy)
						}
						if story.prepare != nil {
							story.prepare(s)
						}
						return s
					}
					recover := func(s *site) (*Deployment, error) {
						d := s.command("")
						if takeBack && s.mayBeTakenBack() {
							return d, d.TakeBack(t.Context(), s.of("d1"), "somebody said so")
						}
						return d, d.Resume(t.Context(), s.of("d1"))
					}
					points := 0
					for first := 1; ; first++ {
						dead := begin()
						died, _ := dead.live(first, func() error { return story.do(t.Context(), dead, t) })
						if !died {
							break
						}
						points++
						if len(dead.of("d1")) == 0 {
							assert.Empty(t, dead.wrong)
							continue // nothing was begun
						}
						for second := 1; ; second++ {
							s := dead.clone()
							lives++
							place := fmt.Sprintf("killed at %d after %q", first, s.did[max(0, len(s.did)-1):])
							died, _ := s.live(second, func() error { _, err := recover(s); return err })
							points++
							place += fmt.Sprintf(", then at %d after %q", second, s.did[len(s.did)-1])
							var d *Deployment
							var err error
							_, _ = s.live(0, func() error { d, err = recover(s); return err })
							last := s.entries[len(s.entries)-1]
							none := last.Slot == ""
							if wrong := s.whole(d.Serving(), none && story.first); len(wrong) > 0 {
								t.Fatalf("%s: %v\nerror: %v\n%s", place, wrong, err, s.history())
							}
							if !takeBack && !slices.Contains(story.ends, last.State) || !takeBack && story.good != "" && !none && last.Release != story.good {
								t.Fatalf("%s: ended as %s with %s\n%s", place, last.State, last.Release, s.history())
							}
							if !died {
								break
							}
						}
					}
					require.Greater(t, points, 20)
					total += points
				})
			}
		}
	}
	t.Logf("%d points at which a process died, in %d lives", total, lives)
}

// mayBeTakenBack says whether a deployment has not ended, nor is about to.
func (s *site) mayBeTakenBack() bool {
	last := s.entries[len(s.entries)-1]
	return !last.State.Ended() && (last.State != Retiring || s.hosts[0].slots[last.Slot] != nil && s.hosts[len(s.hosts)-1].slots[last.Slot] != nil)
}

func (s *site) history() string {
	var lines []string
	for _, e := range s.entries {
		lines = append(lines, fmt.Sprintf("%s %s %s %s (%s)", e.Deployment, e.State, e.Slot, e.Release, e.Detail))
	}
	return strings.Join(lines, "\n") + "\n" + strings.Join(s.did, "; ")
}
