package deploy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/metaextract/pipeline/deploy/canary"
	"github.com/metaextract/pipeline/migrations"
	"github.com/metaextract/pipeline/migrations/backup"
)

// site is an environment that outlives the commands at work in it: hosts, a database, a journal and a store. It dies at a
// point that it is told, before or after anything it is asked for, and watches what its users would meet.
type site struct {
	strategy Strategy
	hosts    []*host
	entries  []Entry
	stored   []byte
	schema   int
	clock    time.Time
	fails    map[string]error // by what is asked: it is not done
	late     map[string]error // by what is asked: it is done, but its answer is lost
	broken   string           // a release whose requests fail
	losing   bool             // the journal says that the lock is lost

	points   int // passed in this life
	dieAt    int // dies at this point; 0: lives
	did      []string
	wrong    []string // what a user, or whoever reads the journal, would complain of
	open     bool     // has users
	endpoint int
	judged   int // verdicts that were remembered
}

// killed is what a process says when it dies.
type killed struct{}

var goodTimes = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func newSite(strategy Strategy) *site {
	s := &site{strategy: strategy, clock: goodTimes, fails: map[string]error{}}
	names := []string{""}
	if strategy == Rolling {
		names = []string{"a", "b"}
	}
	for _, name := range names {
		s.hosts = append(s.hosts, &host{site: s, name: name, slots: map[Slot]*process{}, routes: map[Slot]*route{}})
	}
	return s
}

// command is a Deployment as a command makes it.
func (s *site) command(id string) *Deployment {
	h := s.hosts[0]
	d := &Deployment{
		ID: id, Target: h, Splitter: h, Verifier: s, Database: s, Journal: s, Strategy: s.strategy, Releases: s,
		Bake:  func(context.Context) error { return s.ask("bake", func() error { return nil }) },
		Now:   func() time.Time { return s.clock },
		Pause: func(_ context.Context, d time.Duration) error { s.clock = s.clock.Add(d); return nil },
	}
	switch s.strategy {
	case Rolling:
		fleet := &Fleet{Parallel: 1, Verifier: s}
		for _, h := range s.hosts {
			fleet.Hosts = append(fleet.Hosts, Host{h.name, h, h, nil})
		}
		d.Target, d.Splitter, d.Verifier = fleet, fleet, fleet
	case Canary:
		d.Ramp = &Ramp{Recorder: s, Store: s, Every: time.Second, Plan: canary.Plan{
			Steps:  []canary.Step{{Percent: 10, Exposure: 8, MaxExcess: .5}, {Percent: 50, Exposure: 8, MaxExcess: .5}},
			WarmUp: -1, HoldBack: 5, Bake: time.Second, Extend: time.Minute,
		}}
	}
	return d
}

func (s *site) release(version string) Release {
	return Release{Version: version, Units: []Unit{{Component: "web", Routes: []string{"/"}}, {Component: "worker"}}}
}

func (s *site) Release(_ context.Context, version string) (Release, error) {
	return s.release(version), nil
}
func (s *site) LastGood(context.Context) (Release, error) { return s.release("v1"), nil }
func (s *site) Judged(context.Context, Verdict) error     { s.judged++; return nil }
func (s *site) Close(context.Context) error               { return nil }
func (s *site) complain(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}
func (s *site) Allows(_ context.Context, release string) error { return s.fails["allow "+release] }

// ask does something that the process may die before, or after.
func (s *site) ask(what string, do func() error) error {
	s.point()
	s.did = append(s.did, what)
	if err := s.fails[what]; err != nil {
		return err
	}
	err := do()
	s.look(what)
	s.point()
	if lost := s.late[what]; err == nil && lost != nil {
		return lost
	}
	return err
}

func (s *site) point() {
	s.points++
	if s.points == s.dieAt {
		panic(killed{})
	}
}

// look sends a request to every slot that has users.
func (s *site) look(after string) {
	for _, h := range s.hosts {
		sum := 0
		for slot, r := range h.routes {
			sum += r.weight
			p := h.slots[slot]
			if r.weight > 0 && (p == nil || p.endpoint != r.endpoint || !p.ready) && !s.down() {
				s.complain("after %s: %d %% of the requests to %s fail", after, r.weight, slot)
			}
			if s.fails["smoke "+r.version] != nil && r.weight > 0 || r.version == s.broken && r.weight > 10 {
				s.complain("after %s: %d %% of the users have %s, which is bad", after, r.weight, r.version)
			}
		}
		if s.open && sum != 100 {
			s.complain("after %s: %d %% of the users have a slot", after, sum)
		}
	}
}

// down says whether the journal admits that nobody is served.
func (s *site) down() bool {
	if s.strategy != Recreate {
		return false
	}
	for _, e := range slices.Backward(s.entries) {
		switch e.State {
		case Replacing, RollingBack, Starting, Probing, Verifying, Shifting:
			return true
		case Planned, Done, RolledBack, Failed:
			return false
		}
	}
	return false
}

func (s *site) Write(_ context.Context, e Entry) error {
	return s.ask("journal "+string(e.State), func() error {
		if s.losing {
			return lockLost{}
		}
		s.entries = append(s.entries, e)
		return nil
	})
}

type lockLost struct{}

func (lockLost) Error() string  { return "somebody else has the lock" }
func (lockLost) LockLost() bool { return true }

func (s *site) Save(_ context.Context, _ string, data []byte) error {
	return s.ask("save", func() error { s.stored = slices.Clone(data); return nil })
}
func (s *site) Load(context.Context, string) ([]byte, error) { return s.stored, nil }
func (s *site) Backup(context.Context) (backup.Backup, error) {
	return backup.Backup{}, s.ask("backup", func() error { return nil })
}
func (s *site) Rehearse(context.Context) error { return s.ask("rehearse", func() error { return nil }) }
func (s *site) Migrate(context.Context) (migrations.Outcome, error) {
	return migrations.Outcome{}, s.ask("migrate", func() error { s.schema = 2; return nil })
}

// Records are twenty users a second on each slot; the cursor is a second.
func (s *site) Records(_ context.Context, slot Slot, after string) (records Records, err error) {
	err = s.ask("records "+string(slot), func() error {
		second, _ := strconv.Atoi(after)
		now := int(s.clock.Sub(goodTimes) / time.Second)
		route := s.hosts[0].routes[slot]
		for ; second < now; second++ {
			for user := range 20 {
				o := canary.Observation{At: goodTimes.Add(time.Duration(second+1) * time.Second), Cohort: fmt.Sprint(slot, second, user), Route: "GET /", Share: float64(route.weight) / 100}
				if route.version == s.broken {
					o.Outcome = canary.AppError
				}
				records.Observations = append(records.Observations, o)
			}
		}
		records.Next = strconv.Itoa(second)
		return nil
	})
	return records, err
}

// clone is the site as it is, for another life.
func (s *site) clone() *site {
	c := *s
	c.entries, c.did, c.wrong = slices.Clone(s.entries), slices.Clone(s.did), slices.Clone(s.wrong)
	c.hosts = nil
	for _, h := range s.hosts {
		other := &host{site: &c, name: h.name, slots: map[Slot]*process{}, routes: map[Slot]*route{}}
		for slot, p := range h.slots {
			p := *p
			other.slots[slot] = &p
		}
		for slot, r := range h.routes {
			r := *r
			other.routes[slot] = &r
		}
		c.hosts = append(c.hosts, other)
	}
	return &c
}

// whole says what is wrong with a site at which nothing is deployed: exactly one release must run, have all users and take
// jobs on every host, and be the one the journal's end names.
func (s *site) whole(serving Instance, none bool) []string {
	wrong := slices.Clone(s.wrong)
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	last := s.entries[len(s.entries)-1]
	if !last.State.Ended() {
		complain("the journal ends with %s", last.State)
	}
	if last.Slot != serving.Slot || last.Release != serving.Release.Version {
		complain("the journal ends with %s in %s, serving is %s in %s", last.Release, last.Slot, serving.Release.Version, serving.Slot)
	}
	for i := 1; i < len(s.entries); i++ {
		if before, after := s.entries[i-1], s.entries[i]; before.Deployment == after.Deployment && !follows(before.State, after.State) {
			complain("%s follows %s", after.State, before.State)
		}
	}
	for _, h := range s.hosts {
		if none {
			if len(h.slots)+len(h.routes) > 0 {
				complain("something is left")
			}
			continue
		}
		p, r := h.slots[serving.Slot], h.routes[serving.Slot]
		switch {
		case len(h.slots) != 1 || len(h.routes) != 1:
			complain("%d slots run and %d are routed", len(h.slots), len(h.routes))
		case p == nil || r == nil:
			complain("%s doesn't serve", serving.Slot)
		case p.version != serving.Release.Version || p.endpoint != r.endpoint || r.weight != 100 || p.quiet || !p.ready:
			complain("%s: %+v %+v", serving.Slot, *p, *r)
		}
	}
	return wrong
}

// follows says whether a state may follow another in a journal, with what a resumed deployment does again.
func follows(before, after State) bool {
	switch after {
	case Planned:
		return false
	case RollingBack, Failed:
		return !before.Ended()
	case RolledBack:
		return before == RollingBack || before == Retiring
	case Done:
		return before == Shifting || before == Baking || before == Retiring || before == RollingBack
	case BackingUp:
		return before.before(Replacing)
	case Starting:
		return before.before(Ramping)
	}
	return before == after || before.before(after) || after == Retiring && before == RollingBack
}
