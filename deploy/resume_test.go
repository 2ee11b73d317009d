package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stopped is a site at which the deployment of v2 died just after what was asked.
func stopped(t *testing.T, strategy Strategy, after string) *site {
	t.Helper()
	for point := 1; ; point++ {
		s := opened(t, strategy)
		died, err := s.live(point, func() error { return whole(t.Context(), s, t) })
		require.True(t, died, "nothing asked %q: %v", after, err)
		if len(s.did) > 0 && s.did[len(s.did)-1] == after {
			return s
		}
	}
}

func TestAReleaseThatIsGoneIsTakenBack(t *testing.T) {
	for _, after := range []string{"journal shifting", "shift green 100", "drain blue", "journal baking", "bake"} {
		t.Run("died after "+after, func(t *testing.T) {
			s := stopped(t, BlueGreen, after)
			delete(s.hosts[0].slots, Green)
			s.wrong = nil
			d := s.command("")
			require.ErrorContains(t, d.Resume(t.Context(), s.of("d1")), "v2 in green is gone")
			s.wrong = nil // what died took its users along
			assert.Empty(t, s.whole(d.Serving(), false))
			assert.Equal(t, "v1", d.Serving().Release.Version)
		})
	}
}

func TestWhatServedBeforeIsStartedAgainWhereItIsGoneToo(t *testing.T) {
	s := stopped(t, BlueGreen, "shift green 100")
	clear(s.hosts[0].slots)
	d := s.command("")
	require.ErrorContains(t, d.Resume(t.Context(), s.of("d1")), "v2 in green is gone")
	s.wrong = nil
	assert.Empty(t, s.whole(d.Serving(), false))
	assert.Equal(t, "v1", d.Serving().Release.Version)
}

func TestNothingElseThanWhatWasBegunIsResumed(t *testing.T) {
	s := stopped(t, BlueGreen, "start v2 in green")
	tests := map[string]struct {
		change  func(*Deployment)
		entries []Entry
		why     string
	}{
		"another deployment":         {func(d *Deployment) { d.ID = "d7" }, s.of("d1"), "the journal is of d1, not of d7"},
		"another strategy":           {func(d *Deployment) { d.Strategy = Recreate }, s.of("d1"), "d1 began as blue-green, not as recreate"},
		"nothing":                    {func(*Deployment) {}, nil, "no deployment begins in it"},
		"a journal of several":       {func(*Deployment) {}, append(s.of("d1"), Entry{Deployment: "d2", State: Baking}), "it has an entry of d2"},
		"a detail that says nothing": {func(*Deployment) {}, []Entry{{Deployment: "d1", State: Planned, Detail: "from v1"}}, `"from v1" doesn't say from where it began`},
		"a target that is gone":      {func(d *Deployment) { d.Target = struct{ Target }{s.hosts[0]} }, s.of("d1"), "nothing can be resumed"},
		"releases nobody knows":      {func(d *Deployment) { d.Releases = nil }, s.of("d1"), "nothing can be resumed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			did := len(s.did)
			d := s.command("")
			test.change(d)
			assert.ErrorContains(t, d.Resume(t.Context(), test.entries), test.why)
			assert.ErrorContains(t, d.TakeBack(t.Context(), test.entries, "why"), test.why)
			assert.Len(t, s.did, did, "it did something")
		})
	}
}

// theirPlan is the plan of d1, from v1 to v2 on one host.
func theirPlan(t *testing.T, s *site) *Plan {
	t.Helper()
	plan, d := somePlan(t), s.command("d1")
	d.Adopt(Instance{Slot: Blue, Release: s.release("v1")})
	plan.Strategy, plan.Steps, plan.Canary = s.strategy, d.Steps(s.release("v2")), nil
	if d.Ramp != nil {
		plan.Canary = &d.Ramp.Plan
	}
	return plan
}

func TestOnlyWhatWasPlannedIsDone(t *testing.T) {
	for name, change := range map[string]func(*Deployment){
		"nothing":             func(*Deployment) {},
		"another release":     func(d *Deployment) { d.Plan.To.Version = "v3" },
		"another predecessor": func(d *Deployment) { d.Plan.From.Version = "v0" },
		"another strategy":    func(d *Deployment) { d.Plan.Strategy = Recreate },
		"no backup":           func(d *Deployment) { d.Database = nil },
		"another ramp":        func(d *Deployment) { d.Ramp.Plan.Steps[0].Percent = 40 },
	} {
		t.Run(name, func(t *testing.T) {
			s := opened(t, Canary)
			d := s.now(t.Context(), t, "d1")
			d.Plan = theirPlan(t, s)
			change(d)
			err := d.Run(t.Context(), s.release("v2"))
			if name == "nothing" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "plan again")
			assert.Empty(t, s.did)
		})
	}
}

func TestAnotherPlanIsNotResumedButTakenBack(t *testing.T) {
	s := opened(t, BlueGreen)
	plan := theirPlan(t, s)
	_, _ = s.live(20, func() error {
		d := s.now(t.Context(), t, "d1")
		d.Plan = plan
		return d.Run(t.Context(), s.release("v2"))
	})
	standing, err := Read(s.of("d1"))
	require.NoError(t, err)
	assert.Equal(t, plan.Hash(), standing.Plan)
	assert.Contains(t, s.of("d1")[0].Detail, `freeze overridden by "ada": "outage"`)
	d := s.command("")
	d.Plan = theirPlan(t, s)
	d.Plan.Disk++
	assert.ErrorContains(t, d.Resume(t.Context(), s.of("d1")), "began with another plan")
	d.Plan = plan
	assert.NoError(t, d.Resume(t.Context(), s.of("d1")))
}

func TestADeploymentThatHasEndedIsOnlyLookedAt(t *testing.T) {
	s := opened(t, BlueGreen)
	require.NoError(t, whole(t.Context(), s, t))
	did := len(s.did)
	d := s.command("")
	require.NoError(t, d.Resume(t.Context(), s.of("d1")))
	assert.Equal(t, "v2", d.Serving().Release.Version)
	assert.Equal(t, Green, d.Serving().Slot)
	assert.NotEmpty(t, d.Serving().Endpoints)
	assert.ErrorContains(t, d.TakeBack(t.Context(), s.of("d1"), "why"), "the deployment has ended (done); roll back instead")
	assert.Len(t, s.did, did)
}

func TestAPredecessorThatIsRetiredIsNotGoneBackTo(t *testing.T) {
	s := stopped(t, BlueGreen, "stop blue")
	assert.ErrorContains(t, s.command("").TakeBack(t.Context(), s.of("d1"), "why"), "v1 is retired")
}

// A command whose lock is lost does nothing from then on: what it finds may be somebody else's.
func TestWhoLosesTheLockDoesNothingMore(t *testing.T) {
	for _, strategy := range []Strategy{BlueGreen, Canary, Rolling, Recreate} {
		for _, bad := range []bool{false, true} {
			for n := 0; ; n++ {
				s := opened(t, strategy)
				if bad {
					s.fails["bake"] = errTold
				}
				lose := &loser{Journal: s, after: n}
				d := s.now(t.Context(), t, "d1")
				d.Journal = lose
				err := d.Run(t.Context(), s.release("v2"))
				if err == nil {
					err = d.Retire(t.Context())
				}
				if !lose.lost {
					break
				}
				var l LostError
				require.ErrorAs(t, err, &l)
				assert.Equal(t, lose.judged, s.judged)
				assert.Equal(t, lose.did, len(s.did), "%s, lost at transition %d: it did %v", strategy, n, s.did[lose.did:])
			}
		}
	}
}

// loser is a journal that loses its lock.
type loser struct {
	Journal
	after, n int
	lost     bool
	did      int
	judged   int
}

func (l *loser) Write(ctx context.Context, e Entry) error {
	s := l.Journal.(*site)
	if l.lost || l.n == l.after {
		if !l.lost {
			l.lost, l.did, l.judged = true, len(s.did), s.judged
		}
		return lockLost{}
	}
	l.n++
	return s.Write(ctx, e)
}

func TestWhoLosesTheLockWhileSavingOrWaitingDoesNothingMore(t *testing.T) {
	t.Run("the store says so", func(t *testing.T) {
		s := opened(t, Canary)
		s.fails["save"] = lockLost{}
		var l LostError
		require.ErrorAs(t, whole(t.Context(), s, t), &l)
		assert.Equal(t, "save", s.did[len(s.did)-1])
	})
	t.Run("the context says so", func(t *testing.T) {
		s := opened(t, BlueGreen)
		ctx, cancel := context.WithCancelCause(t.Context())
		d := s.now(t.Context(), t, "d1")
		d.Bake = func(ctx context.Context) error {
			s.did = append(s.did, "last")
			cancel(lockLost{})
			return ctx.Err()
		}
		require.ErrorIs(t, d.Run(ctx, s.release("v2")), context.Canceled)
		assert.Equal(t, "last", s.did[len(s.did)-1])
	})
}

func TestAJournalThatFailsOtherwiseKeepsNobodyOnABadRelease(t *testing.T) {
	s := opened(t, BlueGreen)
	s.fails["bake"], s.fails["journal rolling back"] = errTold, errors.New("disk full")
	err := whole(t.Context(), s, t)
	require.ErrorIs(t, err, errTold)
	assert.ErrorContains(t, err, "disk full")
	assert.Equal(t, 100, s.hosts[0].routes[Blue].weight)
	assert.Nil(t, s.hosts[0].slots[Green])
}

func TestTrafficThatCannotBeGivenBackIsNotCutOff(t *testing.T) {
	s := opened(t, BlueGreen)
	s.fails["bake"], s.fails["shift blue 100"] = errTold, errors.New("the router is away")
	require.ErrorContains(t, whole(t.Context(), s, t), "the next command tries again")
	assert.Empty(t, s.wrong)
	assert.Equal(t, RollingBack, s.entries[len(s.entries)-1].State)
	assert.Equal(t, "shift blue 100", s.did[len(s.did)-1], "it did something more")
	delete(s.fails, "shift blue 100")
	d := s.command("")
	require.NoError(t, d.Resume(t.Context(), s.of("d1")))
	assert.Empty(t, s.whole(d.Serving(), false))
}

func TestASplitterThatHasForgottenIsToldAgain(t *testing.T) {
	for _, after := range []string{"journal shifting", "journal quieting"} {
		s := stopped(t, BlueGreen, after)
		delete(s.hosts[0].routes, Green)
		d := s.command("")
		require.NoError(t, d.Resume(t.Context(), s.of("d1")))
		assert.Empty(t, s.whole(d.Serving(), false))
		assert.Equal(t, "v2", d.Serving().Release.Version)
	}
}

func TestWhatTheSplitterKeepsIsNotStopped(t *testing.T) {
	s := opened(t, BlueGreen)
	s.fails["remove blue"] = errTold
	require.ErrorIs(t, whole(t.Context(), s, t), errTold)
	assert.NotContains(t, s.did, "stop blue")
	delete(s.fails, "remove blue")
	d := s.command("")
	require.NoError(t, d.Resume(t.Context(), s.of("d1")))
	assert.Empty(t, s.whole(d.Serving(), false))
}

// Whatever answer gets lost after the thing was done: the deployment is done or taken back, by itself or by the next command.
func TestAnAnswerThatIsLostLeavesNothingUnknown(t *testing.T) {
	for _, strategy := range []Strategy{BlueGreen, Canary, Rolling, Recreate} {
		good := opened(t, strategy)
		require.NoError(t, whole(t.Context(), good, t))
		asked := map[string]bool{}
		for _, what := range good.did {
			if asked[what] || strings.HasPrefix(what, "journal") {
				continue
			}
			asked[what] = true
			t.Run(string(strategy)+": "+what, func(t *testing.T) {
				s := opened(t, strategy)
				s.late = map[string]error{what: errTold}
				err := whole(t.Context(), s, t)
				s.late = nil
				d := s.command("")
				require.NoError(t, d.Resume(t.Context(), s.of("d1")), "%v\n%s", err, s.history())
				assert.Empty(t, s.whole(d.Serving(), false), s.history())
			})
		}
	}
}

func FuzzWhereADeploymentBeganIsReadAgain(f *testing.F) {
	f.Add("v1", true, false, "ab12")
	f.Add(`odd "version" in green, canary`, false, true, "")
	f.Fuzz(func(t *testing.T, version string, blue, back bool, plan string) {
		p := planned{From: version, FromSlot: Green, Back: back, Strategy: Canary}
		if blue {
			p.FromSlot = Blue
		}
		if plan != "" {
			p.Plan, p.Override = Fingerprint(nil, "", plan), &Override{By: version, Reason: plan}
		}
		again, err := parsePlanned(p.String())
		require.NoError(t, err)
		assert.Equal(t, p, again)
	})
}

func TestStatesHaveAnOrder(t *testing.T) {
	assert.True(t, slices.IsSortedFunc(order, func(a, b State) int {
		if a.before(b) {
			return -1
		}
		return 1
	}))
	for _, s := range order {
		assert.Equal(t, s == Done, s.Ended(), s)
	}
	assert.True(t, RolledBack.Ended() && Failed.Ended() && !RollingBack.Ended())
}
