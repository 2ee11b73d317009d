package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/deploy/target/local"
)

// hold takes the slot for a change.
func (s *supervisor) hold(name deploy.Slot) (release func()) {
	lock, _ := s.changes.LoadOrStore(name, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	return lock.(*sync.Mutex).Unlock
}

// start starts a release in a slot that is empty or lost. When ctx ends meanwhile nobody knows of it: it is taken back.
func (s *supervisor) start(ctx context.Context, name deploy.Slot, asked startMessage) (startedMessage, error) {
	if err := errors.Join(checkSlot(name), asked.check()); err != nil {
		return startedMessage{}, err
	}
	defer s.hold(name)()
	s.options.at("start: asked")
	if err := s.free(name, asked.Release.Version); err != nil {
		return startedMessage{}, err
	}
	if err := s.choosePorts(ctx, &asked); err != nil {
		return startedMessage{}, err
	}
	if err := s.set(name, &slot{phase: starting, start: asked}); err != nil {
		s.forget(name)
		return startedMessage{}, err
	}
	started, err := s.raise(ctx, name, asked)
	if err != nil {
		s.forget(name)
	}
	return started, err
}

// forget empties a slot of which nothing runs. Where that cannot be written the file says that it is starting, at most,
// which means the same to the next supervisor.
func (s *supervisor) forget(name deploy.Slot) { _ = s.set(name, nil) }

func (s *supervisor) free(name deploy.Slot, release string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return conflict("the environment is being ended; start again when it has")
	}
	if there := s.slots[name]; there != nil && there.phase != lost {
		return conflict("start release %s: slot %s is in use by release %s; stop it first", release, name, there.start.Release.Version)
	}
	return nil
}

// raise starts what has its ports, and says so in the state. After an error nothing of it runs.
func (s *supervisor) raise(ctx context.Context, name deploy.Slot, asked startMessage) (started startedMessage, err error) {
	s.options.at("start: written")
	instance, err := s.target.StartUnder(ctx, name, asked.Release, local.Conditions{
		Env: asked.Env, Redact: slices.Sorted(maps.Values(asked.Secrets)), Memory: asked.Memory,
	})
	if err != nil {
		return started, err
	}
	s.options.at("start: started")
	err = ctx.Err()
	if err == nil {
		err = s.set(name, &slot{phase: running, start: asked})
	}
	if err != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
		defer cancel()
		return started, errors.Join(err, s.target.Stop(bounded, name))
	}
	s.options.at("start: recorded")
	started.Endpoints = map[string]string{}
	for component, endpoint := range instance.Endpoints {
		started.Endpoints[component] = endpoint.String()
	}
	return started, nil
}

// stop ends what is in a slot; with a token, only what was started with it. It is finished also when nobody waits for it.
func (s *supervisor) stop(ctx context.Context, name deploy.Slot, asked stopMessage) error {
	limit, err := asked.limit()
	if err := errors.Join(checkSlot(name), err); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	defer s.hold(name)()
	there := s.get(name)
	if there == nil || asked.Token != "" && asked.Token != there.start.Token {
		return nil
	}
	s.options.at("stop: asked")
	// A full disk does not keep anything from being stopped. Should the supervisor be killed then, the next one starts the
	// slot anew, and it has no traffic. What cannot be written now is told below, unless it can be by then.
	_ = s.set(name, &slot{phase: stopping, start: there.start})
	s.options.at("stop: written")
	err = s.target.Stop(ctx, name)
	s.options.at("stop: stopped")
	err = errors.Join(err, s.set(name, nil))
	s.options.at("stop: recorded")
	return err
}

// restore starts a lost slot anew, on the ports it had. In the state it is lost until it runs, so that a supervisor that is
// killed meanwhile does not forget it. The error is kept, too: it is why the slot is lost.
func (s *supervisor) restore(ctx context.Context, name deploy.Slot, secrets map[string]string) error {
	defer s.hold(name)()
	there := s.get(name)
	if there == nil || there.phase != lost {
		return nil
	}
	start, missing := there.unseal(secrets)
	if remembered, ok := s.options.Kept.remembers(name, there.start.Token); ok && len(missing) > 0 {
		start, missing = remembered, nil
	}
	var err error
	if len(missing) > 0 {
		err = fmt.Errorf("it needs the secrets %s again, which are not kept on disk", strings.Join(missing, ", "))
	} else if _, err = s.raise(ctx, name, start); err == nil {
		return nil
	}
	return errors.Join(err, s.set(name, &slot{phase: lost, why: err.Error(), start: there.start, sealed: there.sealed}))
}

// alive is what Target.Alive says.
func (s *supervisor) alive(ctx context.Context, name deploy.Slot) error {
	there := s.get(name)
	if there != nil && there.phase == lost {
		return fmt.Errorf("slot %s is lost: %s; release again", name, there.why)
	}
	return s.target.Alive(ctx, name)
}

// describe is the status of the slots that are used, in order.
func (s *supervisor) describe() []SlotStatus {
	s.mu.Lock()
	slots := maps.Clone(s.slots)
	s.mu.Unlock()
	all := []SlotStatus{}
	for _, name := range slices.Sorted(maps.Keys(slots)) {
		one := SlotStatus{
			Slot: name, Phase: string(slots[name].phase), Release: slots[name].start.Release.Version, Problem: slots[name].why,
			Units: []UnitStatus{},
		}
		for _, u := range s.target.Status(name) {
			one.Units = append(one.Units, UnitStatus{
				Component: u.Component, URL: u.URL, PID: u.PID, UpMS: u.Up.Milliseconds(), Ends: u.Ends, Problem: u.Problem,
				Processes: u.Usage.Processes, ResidentBytes: u.Usage.Resident, MemoryBytes: u.Usage.Proportional,
				CPUMS: u.Usage.CPU.Milliseconds(),
			})
		}
		all = append(all, one)
	}
	return all
}

func (s *supervisor) status() Status {
	status := Status{Version: s.options.Version, PID: os.Getpid(), UpMS: time.Since(s.started).Milliseconds(), Slots: s.describe()}
	if s.options.Kept != nil {
		status.Keeper = s.options.Kept.pid
	}
	if s.router != nil {
		now := s.router.status()
		status.Router = &now
	}
	return status
}
