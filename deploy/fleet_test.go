package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/canary"
)

// fleet is a site of so many hosts, and the fleet of them.
func fleet(t *testing.T, hosts, quorum int) (*site, *Fleet) {
	t.Helper()
	s := newSite(Rolling)
	s.hosts = nil
	f := &Fleet{Quorum: quorum, Parallel: 1, Verifier: s}
	for i := range hosts {
		h := &host{site: s, name: string(rune('a' + i)), slots: map[Slot]*process{}, routes: map[Slot]*route{}}
		s.hosts = append(s.hosts, h)
		f.Hosts = append(f.Hosts, Host{h.name, h, h, nil})
	}
	d := on(s, f)
	require.NoError(t, d.Launch(t.Context(), Blue, s.release("v1")))
	s.did, s.open, s.entries = nil, true, nil
	return s, f
}

func on(s *site, f *Fleet) *Deployment {
	d := s.command("d1")
	d.Target, d.Splitter, d.Verifier = f, f, f
	return d
}

func (s *site) adopted(f *Fleet) *Deployment {
	d := on(s, f)
	running, _, _ := f.Running(context.Background(), Blue)
	running.Release = s.release("v1")
	d.Adopt(running)
	return d
}

func TestAReleaseRollsHostByHost(t *testing.T) {
	s, f := fleet(t, 3, 0)
	d := s.adopted(f)
	require.NoError(t, d.Run(t.Context(), s.release("v2")))
	assert.Equal(t, []string{"green 100 on a", "green 100 on b", "green 100 on c"}, s.shifts())
	require.NoError(t, d.Retire(t.Context()))
	assert.Empty(t, s.whole(d.Serving(), false))
}

func TestOneHostThatFailsRollsAllBack(t *testing.T) {
	for _, point := range []string{"start v2 in green on b", "register green on c", "shift green 100 on b", "drain blue on c"} {
		t.Run(point, func(t *testing.T) {
			s, f := fleet(t, 3, 0)
			s.fails[point] = errTold
			d := s.adopted(f)
			err := d.Run(t.Context(), s.release("v2"))
			require.ErrorIs(t, err, errTold)
			var of *HostError
			require.ErrorAs(t, err, &of)
			assert.Contains(t, point, "on "+of.Host)
			assert.Equal(t, "v1", d.Serving().Release.Version)
			assert.Empty(t, s.whole(d.Serving(), false))
			if point != "drain blue on c" {
				assert.NotContains(t, s.did, "shift green 100 on c", "it went on after a host had failed")
			}
		})
	}
}

func TestAStartThatFailsOnOneHostLeavesNothingOnAny(t *testing.T) {
	s, f := fleet(t, 3, 0)
	s.fails["start v2 in green on b"] = errTold
	_, err := f.Start(t.Context(), Green, s.release("v2"))
	require.EqualError(t, err, "b: told to fail")
	for _, h := range s.hosts {
		assert.Nil(t, h.slots[Green], h.name)
	}
}

func TestARollStopsWhereTheReleaseDies(t *testing.T) {
	s, f := fleet(t, 3, 0)
	dies := &dying{Target: f.Hosts[0].Target, after: 2}
	f.Hosts[0].Target = dies
	f.Verifier = forgiving{s}
	d := s.adopted(f)
	err := d.Run(t.Context(), s.release("v2"))
	require.ErrorContains(t, err, "after 2 of 3 hosts: 2 of 3 hosts run green, 3 must: a: exit status 137")
	assert.Equal(t, []string{"green 100 on a", "green 100 on b", "blue 100 on a", "blue 100 on b", "blue 100 on c"}, s.shifts())
}

// dying is alive so often.
type dying struct {
	Target
	after int
}

func (d *dying) Running(ctx context.Context, slot Slot) (Instance, bool, error) {
	return d.Target.(Inspector).Running(ctx, slot)
}

func (d *dying) Alive(ctx context.Context, slot Slot) error {
	if d.after--; d.after <= 0 {
		return errors.New("exit status 137")
	}
	return d.Target.Alive(ctx, slot)
}

func TestAQuorumGoesOnWithoutAHostAndNamesIt(t *testing.T) {
	tests := map[string]struct {
		lost, quorum int
		goesOn       bool
	}{
		"all are left":             {0, 2, true},
		"as many as must are left": {1, 2, true},
		"too few are left":         {2, 2, false},
		"all must":                 {1, 0, false},
		"more must than there are": {1, 9, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, f := fleet(t, 3, test.quorum)
			var missing []string
			f.Missing = func(host string, _ error) { missing = append(missing, host) }
			d := s.adopted(f)
			d.Strategy = BlueGreen
			d.Bake = func(context.Context) error { // hosts vanish
				for _, h := range f.Hosts[:test.lost] {
					name := h.Name
					for _, what := range []string{"shift blue 100", "drain green", "drain blue", "remove blue", "remove green", "stop blue", "stop green", "wake blue"} {
						s.fails[what+" on "+name] = errors.New("no route to host")
					}
				}
				return nil
			}
			require.NoError(t, d.Run(t.Context(), s.release("v2")))
			err := d.RollBack(t.Context())
			if !test.goesOn {
				require.ErrorContains(t, err, "no route to host")
				return
			}
			require.NoError(t, err)
			require.NoError(t, d.Retire(t.Context()))
			slices.Sort(missing)
			var names []string
			for _, h := range f.Hosts[:test.lost] {
				names = append(names, h.Name)
			}
			assert.Equal(t, names, slices.Compact(missing))
		})
	}
}

func TestAFleetThatLosesItsQuorumWhileItBakesRollsBack(t *testing.T) {
	s, f := fleet(t, 3, 2)
	d := s.adopted(f)
	d.BakeFor, d.Bake = time.Minute, nil
	looks := 0
	d.Pause = func(context.Context, time.Duration) error {
		looks++
		s.clock = s.clock.Add(time.Second)
		if looks > 3 && looks <= 5 {
			f.Hosts[looks-4].Target = &dying{Target: f.Hosts[looks-4].Target}
		}
		return nil
	}
	require.ErrorContains(t, d.Run(t.Context(), s.release("v2")), "1 of 3 hosts run green, 2 must")
	assert.Equal(t, 5, looks)
	assert.Equal(t, "v1", d.Serving().Release.Version)
	for _, h := range s.hosts {
		assert.Equal(t, 100, h.routes[Blue].weight, h.name)
	}
}

func TestAFleetRunsOnlyWhatAllItsHostsRun(t *testing.T) {
	s, f := fleet(t, 3, 2)
	running := func() (string, bool) {
		i, ok, err := f.Running(t.Context(), Blue)
		require.NoError(t, err)
		return i.Release.Version, ok
	}
	version, ok := running()
	assert.True(t, ok)
	assert.Equal(t, "v1", version)
	s.hosts[1].slots[Blue].version = "v0"
	_, ok = running()
	assert.False(t, ok, "another version on one")
	delete(s.hosts[1].slots, Blue)
	_, ok = running()
	assert.False(t, ok, "nothing on one")
	f.Hosts[1].Target = struct{ Target }{s.hosts[1]}
	_, ok = running()
	assert.True(t, ok, "one doesn't answer")
	f.Hosts[2].Target = struct{ Target }{s.hosts[2]}
	_, _, err := f.Running(t.Context(), Blue)
	assert.ErrorContains(t, err, "its target doesn't tell what it runs")
}

func TestHostsAreAskedAtOnceAndNotMoreThanParallel(t *testing.T) {
	for _, parallel := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(parallel), func(t *testing.T) {
			f := &Fleet{Parallel: parallel}
			want := parallel
			if parallel == 0 {
				want = 4
			}
			entered, leave := make(chan struct{}, 4), make(chan struct{})
			done := make(chan []error, 1)
			hosts := []Host{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}
			go func() {
				done <- f.each(hosts, func(h Host) error {
					entered <- struct{}{}
					<-leave
					if h.Name == "c" {
						return errTold
					}
					return nil
				})
			}()
			for range want {
				<-entered
			}
			assert.Empty(t, entered)
			close(leave)
			errs := <-done
			assert.EqualError(t, errors.Join(errs...), "c: told to fail")
			assert.ErrorIs(t, errs[2], errTold)
		})
	}
}

func TestAFleetsRecordsAreOfAllHostsInOrder(t *testing.T) {
	at := func(second int, cohort string) canary.Observation {
		return canary.Observation{At: goodTimes.Add(time.Duration(second) * time.Second), Cohort: cohort}
	}
	a := &scripted{batches: map[Slot][]Records{Blue: {{Observations: []canary.Observation{at(1, "a1"), at(4, "a2")}, Next: "a-1"}, {Next: "a-2", Observations: []canary.Observation{at(5, "a3"), at(8, "a4")}}}}}
	b := &scripted{batches: map[Slot][]Records{Blue: {{Observations: []canary.Observation{at(2, "b1")}, Next: "b-1"}, {Next: "b-2", Lost: 7, Observations: []canary.Observation{at(7, "b2")}}}}}
	f := &Fleet{Parallel: 1, Quorum: 1, Hosts: []Host{{Name: "a", Recorder: a}, {Name: "b", Recorder: b}, {Name: "c"}}}
	cohorts := func(r Records) (list []string) {
		for _, o := range r.Observations {
			list = append(list, o.Cohort)
		}
		return list
	}
	first, err := f.Records(t.Context(), Blue, "")
	require.NoError(t, err)
	assert.Equal(t, []string{"a1", "b1", "a2"}, cohorts(first))
	second, err := f.Records(t.Context(), Blue, first.Next)
	require.NoError(t, err)
	assert.Equal(t, []string{"b2", "a4"}, cohorts(second), "a3 came when b's were lost")
	assert.EqualValues(t, 7, second.Lost)
	assert.Equal(t, []string{"blue ", "blue a-1"}, a.asked)
	_, err = f.Records(t.Context(), Blue, "nonsense")
	assert.ErrorContains(t, err, "read the fleet's cursor")
	f.Quorum = 0
	_, err = f.Records(t.Context(), Blue, "")
	assert.ErrorContains(t, err, "c: nobody records its requests")
}
